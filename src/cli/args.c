/* Parsing of command lines against the option tables. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

const cli_option cli_common_options[] = {
    {"json", 0, NULL, "print one JSON object on standard output instead of text"},
    {"quiet", 'q', NULL, "say nothing but errors on standard error"},
    {"verbose", 'v', NULL, "say more; may be repeated"},
    {"jobs", 'j', "N", "number of threads (default: the processors this process may use)"},
    {"help", 'h', NULL, "print this help"},
    {NULL, 0, NULL, NULL},
};

const cli_option cli_preprocess_options[] = {
    {"scale", 0, "S", "inputs are (value * S - mean) / std; S is a number or a fraction such as 1/255 (default 1)"},
    {"mean", 0, "A,B,C", "mean per channel, or one for all (default 0)"},
    {"std", 0, "A,B,C", "standard deviation per channel, or one for all (default 1)"},
    {"layout", 0, "LAYOUT", "how the data file is laid out: nchw or nhwc (default nchw)"},
    {NULL, 0, NULL, NULL},
};

/* All option lists of a command, in the order help shows them. */
static size_t option_lists(const cli_command *command, const cli_option *lists[4])
{
    size_t n = 0;
    if (command->options != NULL) {
        lists[n++] = command->options;
    }
    if (command->quantization) {
        lists[n++] = cli_quantization_options;
    }
    if (command->preprocess) {
        lists[n++] = cli_preprocess_options;
    }
    lists[n++] = cli_common_options;
    return n;
}

static const cli_option *find_option(const cli_command *command, const char *name, size_t length, char letter)
{
    const cli_option *lists[4];
    size_t n_lists = option_lists(command, lists);
    for (size_t l = 0; l < n_lists; l++) {
        for (const cli_option *option = lists[l]; option->name != NULL; option++) {
            bool by_letter = letter != 0 && option->letter == letter;
            bool by_name = name != NULL && strlen(option->name) == length && strncmp(option->name, name, length) == 0;
            if (by_letter || by_name) {
                return option;
            }
        }
    }
    return NULL;
}

static size_t edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t row[LONGEST + 1], n = strlen(b);
    if (n > LONGEST || strlen(a) > LONGEST) {
        return LONGEST;
    }
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t substitute = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t least = row[j] < row[j - 1] ? row[j] : row[j - 1];
            row[j] = least + 1 < substitute ? least + 1 : substitute;
        }
    }
    return row[n];
}

const char *cli_nearest(const char *wrong, const char *(*next)(void *ctx), void *ctx)
{
    const char *nearest = NULL;
    size_t least = strlen(wrong) / 3 + 2; /* further away it is no misspelling */
    for (const char *name = next(ctx); name != NULL; name = next(ctx)) {
        size_t distance = edit_distance(wrong, name);
        if (distance < least) {
            least = distance;
            nearest = name;
        }
    }
    return nearest;
}

typedef struct {
    const cli_option *lists[4];
    size_t n_lists, list, row;
} option_walk;

static const char *next_option(void *ctx)
{
    option_walk *walk = ctx;
    while (walk->list < walk->n_lists) {
        const cli_option *option = &walk->lists[walk->list][walk->row++];
        if (option->name != NULL) {
            return option->name;
        }
        walk->list++;
        walk->row = 0;
    }
    return NULL;
}

static cli_exit unknown_option(const cli_command *command, const char *given, const char *name)
{
    option_walk walk = {.n_lists = 0};
    walk.n_lists = option_lists(command, walk.lists);
    const char *nearest = name != NULL ? cli_nearest(name, next_option, &walk) : NULL;
    if (nearest != NULL) {
        return cli_misuse("unknown option '%s'; did you mean '--%s'? See 'quern %s --help'", given, nearest,
                          command->name);
    }
    return cli_misuse("unknown option '%s'; see 'quern %s --help'", given, command->name);
}

static cli_exit parse_jobs(cli_args *args, const char *text)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || n < 1 || n > 1024) {
        return cli_misuse("--jobs '%s' is not a number of threads from 1 to 1024", text);
    }
    args->n_threads = (int)n;
    return CLI_OK;
}

static bool repeats(const cli_option *option)
{
    size_t n = strlen(option->argument);
    return n > 3 && strcmp(option->argument + n - 3, "...") == 0;
}

static cli_exit take_option(cli_args *args, const cli_option *option, const char *value)
{
    if (strcmp(option->name, "json") == 0) {
        args->json = true;
    } else if (strcmp(option->name, "quiet") == 0) {
        args->quiet = true;
    } else if (strcmp(option->name, "verbose") == 0) {
        args->verbose++;
    } else if (strcmp(option->name, "help") == 0) {
        args->help = true;
    } else if (option->argument != NULL && !repeats(option) && cli_has(args, option->name)) {
        return cli_misuse("option '--%s' is given twice", option->name);
    } else if (args->n_given == CLI_MAX_OPTIONS) {
        return cli_misuse("too many options");
    } else {
        args->given[args->n_given] = option;
        args->values[args->n_given++] = value;
        return strcmp(option->name, "jobs") == 0 ? parse_jobs(args, value) : CLI_OK;
    }
    return CLI_OK;
}

/* "--name", "--name=value", "--name value". *used counts the words taken. */
static cli_exit parse_long(cli_args *args, char **words, int n_words, int *used)
{
    const char *name = words[0] + 2, *equals = strchr(name, '=');
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const cli_option *option = find_option(args->command, name, length, 0);
    *used = 1;
    if (option == NULL) {
        char bare[64] = "";
        strncat(bare, name, length < sizeof bare - 1 ? length : sizeof bare - 1);
        return unknown_option(args->command, words[0], bare);
    }
    if (option->argument == NULL) {
        return equals != NULL ? cli_misuse("option '--%s' takes no value", option->name)
                              : take_option(args, option, "");
    }
    if (equals != NULL) {
        return take_option(args, option, equals + 1);
    }
    if (n_words < 2) {
        return cli_misuse("option '--%s' needs a value: --%s %s", option->name, option->name, option->argument);
    }
    *used = 2;
    return take_option(args, option, words[1]);
}

/* "-q", "-qv", "-j4", "-j 4". */
static cli_exit parse_short(cli_args *args, char **words, int n_words, int *used)
{
    *used = 1;
    for (const char *letter = words[0] + 1; *letter != '\0'; letter++) {
        const cli_option *option = find_option(args->command, NULL, 0, *letter);
        if (option == NULL) {
            char given[3] = {'-', *letter, '\0'};
            return unknown_option(args->command, given, NULL);
        }
        if (option->argument != NULL) {
            if (letter[1] != '\0') {
                return take_option(args, option, letter + 1);
            }
            if (n_words < 2) {
                return cli_misuse("option '-%c' needs a value: -%c %s", *letter, *letter, option->argument);
            }
            *used = 2;
            return take_option(args, option, words[1]);
        }
        cli_exit taken = take_option(args, option, "");
        if (taken != CLI_OK) {
            return taken;
        }
    }
    return CLI_OK;
}

static size_t count_positional(const cli_command *command)
{
    size_t n = 0;
    while (n < CLI_MAX_POSITIONAL && command->positional[n] != NULL) {
        n++;
    }
    return n;
}

static bool takes_rest(const cli_command *command, size_t wanted)
{
    const char *last = wanted > 0 ? command->positional[wanted - 1] : "";
    return strlen(last) > 3 && strcmp(last + strlen(last) - 3, "...") == 0;
}

cli_exit cli_parse(cli_args *args, const cli_command *command, int argc, char **argv)
{
    *args = (cli_args){.command = command, .rest = argv};
    size_t n_positional = 0, wanted = count_positional(command);
    bool options_ended = false;
    for (int i = 0, used; i < argc; i += used) {
        cli_exit taken = CLI_OK;
        used = 1;
        if (!options_ended && strcmp(argv[i], "--") == 0) {
            options_ended = true;
        } else if (!options_ended && strncmp(argv[i], "--", 2) == 0) {
            taken = parse_long(args, argv + i, argc - i, &used);
        } else if (!options_ended && argv[i][0] == '-' && argv[i][1] != '\0') {
            taken = parse_short(args, argv + i, argc - i, &used);
        } else if (n_positional < wanted) {
            args->positional[n_positional++] = argv[i];
            args->rest[args->n_rest++] = argv[i];
        } else if (takes_rest(command, wanted)) {
            args->rest[args->n_rest++] = argv[i]; /* a place that has been read */
        } else {
            taken = cli_misuse("unexpected argument '%s'; usage: quern %s %s", argv[i], command->name, command->usage);
        }
        if (taken != CLI_OK) {
            return taken;
        }
    }
    bool optional = n_positional < wanted && command->positional[n_positional][0] == '[';
    if (!args->help && n_positional < wanted && !optional) {
        return cli_misuse("%s is missing; usage: quern %s %s", command->positional[n_positional], command->name,
                          command->usage);
    }
    return CLI_OK;
}

const char *cli_value(const cli_args *args, const char *name)
{
    for (size_t i = 0; i < args->n_given; i++) {
        if (strcmp(args->given[i]->name, name) == 0) {
            return args->values[i];
        }
    }
    return NULL;
}

bool cli_has(const cli_args *args, const char *name)
{
    return cli_value(args, name) != NULL;
}

size_t cli_all_values(const cli_args *args, const char *name, const char **values, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < args->n_given && n < max; i++) {
        if (strcmp(args->given[i]->name, name) == 0) {
            values[n++] = args->values[i];
        }
    }
    return n;
}
