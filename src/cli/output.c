/* What the program says: errors, notes, progress, JSON. */
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static cli_exit exit_of_status(qn_status status)
{
    switch (status) {
    case QN_OK:
        return CLI_OK;
    case QN_EINVAL:
    case QN_EEXIST:
    case QN_ECONFLICT:
        return CLI_USAGE;
    case QN_EIO:
    case QN_EFORMAT:
    case QN_EUNSUPPORTED:
    case QN_ESHAPE:
    case QN_ERANGE:
    case QN_ELIMIT:
        return CLI_REFUSED;
    case QN_ENOMEM:
    case QN_EINTERNAL:
    case QN_ECANCELED:
        return CLI_FAILED;
    }
    return CLI_FAILED;
}

/* What the user can do, in the program's terms, which the library does not know. */
static const char *remedy_of_status(qn_status status)
{
    return status == QN_EEXIST ? "; use -f to overwrite it" : "";
}

/* Names and paths may hold newlines and terminal commands. */
static void mask_controls(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        *c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
    }
}

static FILE *listener; /* NULL: stderr */
static char speaker[32];

void cli_speak_as(const char *name, FILE *to)
{
    snprintf(speaker, sizeof speaker, "%s", name);
    listener = to;
}

static void say(char *text)
{
    mask_controls(text);
    fprintf(listener != NULL ? listener : stderr, "quern: %s%s\n", speaker, text);
}

cli_exit cli_fail(const qn_error *err)
{
    char text[QN_ERROR_WHERE_MAX + QN_ERROR_MESSAGE_MAX + 64];
    const char *message = err->message[0] != '\0' ? err->message : qn_status_text(err->status);
    snprintf(text, sizeof text, "%s%s%s%s", err->where, err->where[0] != '\0' ? ": " : "", message,
             remedy_of_status(err->status));
    say(text);
    return exit_of_status(err->status);
}

enum { SAID_MAX = 8192 }; /* paths of PATH_MAX bytes fit */

cli_exit cli_misuse(const char *format, ...)
{
    char text[SAID_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    say(text);
    return CLI_USAGE;
}

void cli_note(const cli_args *args, const char *format, ...)
{
    if (args->quiet) {
        return;
    }
    char text[SAID_MAX];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    say(text);
}

json_t *cli_json_start(const cli_args *args)
{
    return json_pack("{s:s, s:s}", "quern", qn_version(), "command", args->command->name);
}

json_t *cli_json_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *cli_json_string(const char *text)
{
    json_t *string = json_string(text);
    if (string != NULL) {
        return string;
    }
    size_t n = strlen(text);
    char *ascii = malloc(n + 1);
    for (size_t i = 0; ascii != NULL && i <= n; i++) {
        ascii[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
    }
    string = ascii != NULL ? json_string(ascii) : NULL;
    free(ascii);
    return string;
}

json_t *cli_json_lines(const char *text)
{
    json_t *list = json_array();
    while (text != NULL && *text != '\0') {
        const size_t n = strcspn(text, "\n");
        char *line = strndup(text, n);
        json_array_append_new(list, line != NULL ? cli_json_string(line) : json_null());
        free(line);
        text += n + (text[n] == '\n');
    }
    return list;
}

void cli_print_json(json_t *object)
{
    json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    putchar('\n');
    json_decref(object);
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

void cli_progress_start(cli_progress *progress, const cli_args *args, const char *label)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND}; /* a second signal kills */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    *progress = (cli_progress){.label = label, .last_percent = -1};
    progress->shown = !args->quiet && !args->json && isatty(STDERR_FILENO);
}

bool cli_progress_step(void *ctx, int64_t done, int64_t total)
{
    cli_progress *progress = ctx;
    int percent = total > 0 ? (int)(100 * done / total) : 100;
    if (progress->shown && percent != progress->last_percent) {
        progress->last_percent = percent;
        fprintf(stderr, "\r%s %3d %%", progress->label, percent);
        fflush(stderr);
    }
    return !interrupted;
}

void cli_progress_end(cli_progress *progress)
{
    if (progress->shown) {
        fprintf(stderr, "\r%*s\r", (int)strlen(progress->label) + 6, "");
        fflush(stderr);
    }
}

const char *cli_count(char text[CLI_COUNT_MAX], double value)
{
    static const char *const prefixes[] = {"", " k", " M", " G", " T"};
    size_t p = 0;
    while (value >= 1000 && p + 1 < sizeof prefixes / sizeof prefixes[0]) {
        value /= 1000;
        p++;
    }
    int decimals = p == 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
    snprintf(text, CLI_COUNT_MAX, "%.*f%s", decimals, value, prefixes[p]);
    return text;
}

const char *cli_shape(char text[CLI_SHAPE_MAX], int rank, const int64_t *dims)
{
    size_t used = 0;
    text[0] = '\0';
    if (rank <= 0) {
        snprintf(text, CLI_SHAPE_MAX, rank == 0 ? "scalar" : "?");
    }
    for (int i = 0; i < rank && used < CLI_SHAPE_MAX - 24; i++) {
        const char *times = i > 0 ? "x" : "";
        int n = dims[i] < 0 ? snprintf(text + used, CLI_SHAPE_MAX - used, "%sN", times)
                            : snprintf(text + used, CLI_SHAPE_MAX - used, "%s%lld", times, (long long)dims[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    return text;
}

const char *cli_name(char text[CLI_NAME_MAX], const char *name)
{
    snprintf(text, CLI_NAME_MAX, "%s", name);
    mask_controls(text);
    return text;
}

int cli_wider(int width, const char *name)
{
    enum { MOST = 32 };
    const size_t length = strnlen(name, MOST);
    return (int)length > width ? (int)length : width;
}
