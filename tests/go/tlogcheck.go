// tlogcheck checks what tg-audit makes with an implementation that is not ours: golang.org/x/mod/sumdb.
//
//	tlogcheck log DIRECTORY VKEY                            every entry against the signed tree
//	tlogcheck receipt FILE VKEY                             one receipt (c2sp.org/tlog-proof@v1)
//	tlogcheck consistency OLD NEW PROOF VKEY                that one checkpoint continues another; PROOF: base64 lines
package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// directory reads tiles of height 8. sumdb puts the height into the path, C2SP tlog-tiles does not.
type directory string

func (d directory) path(t tlog.Tile) string {
	return filepath.Join(string(d), strings.Replace(t.Path(), "tile/8/", "tile/", 1))
}

func (d directory) Height() int { return 8 }

func (d directory) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		data, err := os.ReadFile(d.path(t))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (d directory) SaveTiles([]tlog.Tile, [][]byte) {}

func openCheckpoint(text []byte, vkey string) (tlog.Tree, error) {
	var tree tlog.Tree
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tree, err
	}
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		return tree, fmt.Errorf("not a checkpoint of %s: %q", verifier.Name(), opened.Text)
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	tree.Hash, err = tlog.ParseHash(lines[2])
	return tree, err
}

func splitBundle(bundle []byte) ([][]byte, error) {
	var entries [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
			return nil, errors.New("an entry is cut off")
		}
		length := int(binary.BigEndian.Uint16(bundle))
		entries = append(entries, bundle[2:2+length])
		bundle = bundle[2+length:]
	}
	return entries, nil
}

func checkBundle(reader tlog.HashReader, first int64, entries [][]byte) error {
	var indexes []int64
	for i := range entries {
		indexes = append(indexes, tlog.StoredHashIndex(0, first+int64(i)))
	}
	hashes, err := reader.ReadHashes(indexes)
	if err != nil {
		return err
	}
	for i, entry := range entries {
		number := first + int64(i)
		if hashes[i] != tlog.RecordHash(entry) {
			return fmt.Errorf("entry %d is not the one in the tree", number)
		}
		if !strings.HasPrefix(string(entry), fmt.Sprintf(`{"metadata":{"sequence":%d,`, number)) {
			return fmt.Errorf("entry %d does not start with its sequence", number)
		}
	}
	return nil
}

func checkLog(dir directory, vkey string) error {
	text, err := os.ReadFile(filepath.Join(string(dir), "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := openCheckpoint(text, vkey)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, dir)
	for first := int64(0); first < tree.N; first += 256 {
		width := 256
		if tree.N-first < 256 {
			width = int(tree.N - first)
		}
		path := strings.Replace(dir.path(tlog.Tile{H: 8, L: -1, N: first / 256, W: width}), "tile/data/", "tile/entries/", 1)
		bundle, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		entries, err := splitBundle(bundle)
		if err != nil {
			return err
		}
		if len(entries) != width {
			return fmt.Errorf("%s has %d entries, not %d", path, len(entries), width)
		}
		if err := checkBundle(reader, first, entries); err != nil {
			return err
		}
	}
	fmt.Println(tree.N, "entries")
	return nil
}

func parseHashes(lines []string) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, line := range lines {
		if line == "" {
			continue
		}
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	return hashes, nil
}

func checkReceipt(file, vkey string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, checkpoint, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" ||
		!strings.HasPrefix(lines[1], "extra ") || !strings.HasPrefix(lines[2], "index ") {
		return errors.New("not a receipt")
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	proof, err := parseHashes(lines[3:])
	if err != nil {
		return err
	}
	tree, err := openCheckpoint([]byte(checkpoint), vkey)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}

func checkConsistency(oldFile, newFile, proofFile, vkey string) error {
	var trees [2]tlog.Tree
	for i, file := range []string{oldFile, newFile} {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if trees[i], err = openCheckpoint(text, vkey); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(proofFile)
	if err != nil {
		return err
	}
	proof, err := parseHashes(strings.Split(string(text), "\n"))
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, trees[1].N, trees[1].Hash, trees[0].N, trees[0].Hash)
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "log":
		return checkLog(directory(args[1]), args[2])
	case len(args) == 3 && args[0] == "receipt":
		return checkReceipt(args[1], args[2])
	case len(args) == 5 && args[0] == "consistency":
		return checkConsistency(args[1], args[2], args[3], args[4])
	}
	return errors.New("usage: tlogcheck log DIRECTORY VKEY | receipt FILE VKEY | consistency OLD NEW PROOF VKEY")
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tlogcheck:", err)
		os.Exit(1)
	}
}
