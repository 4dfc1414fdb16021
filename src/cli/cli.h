/* The cli room: the program `quern`. One file per command; a command is a row of tables (options, usage, example) and a
 * function. Help texts, man pages and the parser read the same tables. Nothing but this room prints or exits.
 *
 * Data goes to stdout, talk to stderr. Exit codes: see cli_exit. */
#ifndef QN_CLI_CLI_H
#define QN_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h" /* QN_TRY */
#include "quern/quern.h"

typedef enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,  /* out of memory, internal errors, interrupted */
    CLI_USAGE = 2,   /* misuse: options, contradictions, existing output */
    CLI_REFUSED = 3, /* an input or output that cannot be used */
    CLI_DIFFER = 4,  /* results differ */
} cli_exit;

enum { CLI_MAX_OPTIONS = 128, CLI_MAX_POSITIONAL = 4 };

/* An option: "--name" or "-letter" (0: none). `argument` names its value in help texts, NULL for a switch; when it ends in
 * "..." the option may be given several times. */
typedef struct cli_option {
    const char *name;
    char letter;
    const char *argument;
    const char *help;
} cli_option;

/* A list of options that several commands share, or one command's own. Ends with a row whose name is NULL. */
extern const cli_option cli_common_options[]; /* --json -q -v -j -h */
extern const cli_option cli_preprocess_options[];
extern const cli_option cli_quantization_options[]; /* quantize_args.c */

typedef struct cli_args cli_args;

typedef struct cli_command {
    const char *name;
    const char *summary;     /* one line, without a full stop */
    const char *usage;       /* what follows "quern NAME" */
    const char *description; /* paragraphs */
    const char *example;     /* commands, one a line */
    const char *positional
        [CLI_MAX_POSITIONAL]; /* names of the arguments, in order; "[NAME]": optional, last; "NAME...": last, any number */
    const cli_option *options; /* its own; NULL if none */
    bool preprocess;           /* takes [pre] as well */
    bool quantization;         /* takes the options of how to quantize */
    bool ranks;                /* divides its work over the ranks of an MPI job (ranks.h) */
    cli_exit (*run)(cli_args *args);
} cli_command;

extern const cli_command cli_inspect, cli_calibrate, cli_quantize, cli_eval, cli_formats, cli_encode, cli_decode,
    cli_compare, cli_demo, cli_recipe, cli_sensitivity, cli_sweep, cli_diff, cli_inject, cli_plan, cli_show, cli_replay,
    cli_protect, cli_merge, cli_export, cli_verify, cli_pack, cli_unpack, cli_cuts, cli_pipeline, cli_partition;
extern const cli_command *const cli_commands[]; /* ends with NULL */

/* The parsed command line. Values point into argv. */
struct cli_args {
    const cli_command *command;
    const char *positional[CLI_MAX_POSITIONAL];
    char **rest; /* all of them, also those that "NAME..." stands for */
    int n_rest;
    const cli_option *given[CLI_MAX_OPTIONS];
    const char *values[CLI_MAX_OPTIONS];
    size_t n_given;
    bool json, quiet, help;
    int verbose;
    int n_threads;
    qn_cpu cpu;
};

/* Parse what follows the command's name. On misuse says so on stderr, with the nearest right spelling, and returns
 * CLI_USAGE. */
cli_exit cli_parse(cli_args *args, const cli_command *command, int argc, char **argv);
/* Value of an option, NULL when absent ("" for a switch that is given). */
const char *cli_value(const cli_args *args, const char *name);
bool cli_has(const cli_args *args, const char *name);
/* All values of an option that repeats, at most `max`; their number. */
size_t cli_all_values(const cli_args *args, const char *name, const char **values, size_t max);
/* Nearest of a list of names by edit distance, NULL when none is near. `next` yields names until NULL. */
const char *cli_nearest(const char *wrong, const char *(*next)(void *ctx), void *ctx);

void cli_print_help(const cli_command *command);
void cli_print_man(const cli_command *command); /* command NULL: the page of quern itself */
void cli_print_overview(void);

/* "quern: FILE, node 3 Conv 'x': reason" on stderr; returns the exit code that fits the status. */
cli_exit cli_fail(const qn_error *err);
cli_exit cli_misuse(const char *format, ...) QN_PRINTF(1, 2);
/* Errors and notes from now on: "quern: " and `name` before them, to `to`, which stays the caller's; NULL: stderr. */
void cli_speak_as(const char *name, FILE *to);
/* Talk on stderr unless quiet. */
void cli_note(const cli_args *args, const char *format, ...) QN_PRINTF(2, 3);
/* Print a JSON object on stdout, one document, and release it. */
void cli_print_json(json_t *object);
/* {"name": "quern", "version": ..., "command": ...}: the start of every command's --json object. */
json_t *cli_json_start(const cli_args *args);
/* A number, or null where JSON has none (infinities). */
json_t *cli_json_real(double value);
/* A string; what is not UTF-8 (names and paths may hold anything) becomes '?'. */
json_t *cli_json_string(const char *text);
/* Lines of a text, as a list of strings. */
json_t *cli_json_lines(const char *text);

/* Progress on a terminal's stderr; silent elsewhere and with -q. */
typedef struct cli_progress {
    const char *label;
    bool shown;
    int last_percent;
} cli_progress;
void cli_progress_start(cli_progress *progress, const cli_args *args, const char *label);
bool cli_progress_step(void *progress, int64_t done, int64_t total); /* a qn_progress_fn; false after Ctrl-C */
void cli_progress_end(cli_progress *progress);

/* Preprocessing for one run: the options of the command line over what artefacts record. `model` etc. may be NULL.
 * CLI_USAGE when an option contradicts a record, or two records each other. */
typedef struct cli_record {
    const char *file;
    qn_preprocess pre;
    bool found;
} cli_record;
cli_exit cli_preprocess(const cli_args *args, const cli_record *records, size_t n_records, qn_preprocess *pre);

/* "12.3 k", "4.56 M": three digits and a decimal prefix. */
enum { CLI_COUNT_MAX = 24 };
const char *cli_count(char text[CLI_COUNT_MAX], double value);
/* "1x3x32x32" with "N" for dynamic dimensions. */
enum { CLI_SHAPE_MAX = 200 };
const char *cli_shape(char text[CLI_SHAPE_MAX], int rank, const int64_t *dims);

/* A name from a file, fit for a line of text: control characters become '?', what is longer than the buffer is cut. */
enum { CLI_NAME_MAX = 128 };
const char *cli_name(char text[CLI_NAME_MAX], const char *name);
/* The width of a column that is `width` wide and shall hold cli_name of `name`, too, up to a limit: operators of other
 * domains have names of any length. */
enum { CLI_OPERATOR_WIDTH = 18 };
int cli_wider(int width, const char *name);

#endif
