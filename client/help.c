#include "client/commands.h"

#include "client/exit_code.h"

void connect_help(FILE *out)
{
    fputs(
        "Usage: ticketgate connect --gateway HOST[:PORT] --ca FILE --user NAME --shield FILE|URI "
        "[OPTION]...\n"
        "Log in with one key of the shield and stay connected until interrupted.\n"
        "\n"
        "  -g, --gateway HOST[:PORT]  the gateway (port 8443); its certificate must be for HOST\n"
        "      --ca FILE              certificates (PEM) of whoever signed the gateway's\n"
        "  -u, --user NAME            account for remote maintenance\n"
        "  -s, --shield FILE|URI      the shield that carries the keys: a file, or a PKCS#11 token by its\n"
        "                             URI (pkcs11:token=shield-17)\n"
        "      --pkcs11-module FILE   the token's PKCS#11 module (those that p11-kit is configured with)\n"
        "  -L [BIND:]PORT:HOST:HOSTPORT\n"
        "                             listen on PORT here (0: a free one; BIND: 127.0.0.1) and forward\n"
        "                             to HOST:HOSTPORT behind the gateway; may be given several times\n"
        "  -W HOST:PORT               stdin and stdout become one connection to HOST:PORT, as ssh's\n"
        "                             ProxyCommand needs it; ends with it\n"
        "      --pin-file FILE        the shield's PIN: the first line of a file that only you can read\n"
        "      --pin-fd N             the same from descriptor N\n"
        "      --password-file FILE   the password, likewise\n"
        "      --password-fd N        the same from descriptor N (after the PIN, if both name it)\n"
        "                             without these you are asked at the terminal\n"
        "      --suite NAME           offer AES256-GCM-SHA256 or SM4-CTR-HMAC-SM3 only; several times:\n"
        "                             the preferred one first\n"
        "      --qkud ID              accept only the gateway with this QKUD ID\n"
        "      --plain-login          do not seal login info under the quantum key, where the gateway's\n"
        "                             policy allows that; the channel still protects it\n"
        "      --low-water N          warn when fewer keys than this are left (10)\n"
        "      --when-shield-pulled end|stay\n"
        "                             end the session when the shield is pulled (end), or go on without it\n"
        "      --keep-alive SECONDS   ask a silent gateway whether it is there (15)\n"
        "  -q, --quiet                say nothing but warnings and errors\n"
        "      --json                 messages as JSON lines; like all messages, on stderr\n"
        "  -h, --help                 show this\n",
        out);
}

void shield_help(FILE *out)
{
    fputs("Usage: ticketgate shield status --shield FILE|URI [OPTION]...\n"
          "Show what is left on a shield.\n"
          "\n"
          "  -s, --shield FILE|URI      the shield: a file, or a PKCS#11 token by its URI\n"
          "      --pkcs11-module FILE   the token's PKCS#11 module\n"
          "      --pin-file FILE        its PIN: the first line of a file that only you can read\n"
          "      --pin-fd N             the same from descriptor N; without these you are asked\n"
          "      --low-water N          warn when fewer keys than this are left (10)\n"
          "      --json                 as one JSON object\n"
          "  -h, --help                 show this\n",
          out);
}
