/* tg-charger: the charging station's program. */
#ifndef TG_CLIENT_CHARGER_CHARGER_H
#define TG_CLIENT_CHARGER_CHARGER_H

/* The whole program but for what main() sets up; returns the exit code. */
int charger_command(int argc, char **argv);

#endif
