/* The commands of `ticketgate`. Each returns the program's exit code. */
#ifndef TG_CLIENT_COMMANDS_H
#define TG_CLIENT_COMMANDS_H

#include <stdio.h>

/* argv[0] is the command's name. */
int connect_command(int argc, char **argv);
int shield_command(int argc, char **argv);

void connect_help(FILE *out);
void shield_help(FILE *out);

#endif
