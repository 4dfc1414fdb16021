#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/ranks.h"

const cli_command *const cli_commands[] = {
    &cli_inspect, &cli_calibrate, &cli_quantize, &cli_recipe,    &cli_sensitivity, &cli_sweep, &cli_eval,
    &cli_diff,    &cli_export,    &cli_verify,   &cli_plan,      &cli_inject,      &cli_show,  &cli_replay,
    &cli_protect, &cli_merge,     &cli_cuts,     &cli_partition, &cli_pipeline,    &cli_pack,  &cli_unpack,
    &cli_formats, &cli_encode,    &cli_decode,   &cli_compare,   &cli_demo,        NULL};

static const char *next_command(void *ctx)
{
    const cli_command *const **next = ctx;
    return **next != NULL ? (*(*next)++)->name : NULL;
}

static const cli_command *find_command(const char *name)
{
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        if (strcmp(cli_commands[i]->name, name) == 0) {
            return cli_commands[i];
        }
    }
    return NULL;
}

static cli_exit unknown_command(const char *name)
{
    const cli_command *const *next = cli_commands;
    const char *nearest = cli_nearest(name, next_command, &next);
    if (nearest != NULL) {
        return cli_misuse("unknown command '%s'; did you mean '%s'? See 'quern --help'", name, nearest);
    }
    return cli_misuse("unknown command '%s'; see 'quern --help'", name);
}

/* `quern help [COMMAND]`, and `quern help --man [COMMAND]` from which the build makes the man pages. */
static cli_exit help(int argc, char **argv)
{
    bool man = argc > 0 && strcmp(argv[0], "--man") == 0;
    int n_words = man ? argc - 1 : argc;
    char **words = man ? argv + 1 : argv;
    const cli_command *command = n_words > 0 ? find_command(words[0]) : NULL;
    if (n_words > 0 && command == NULL) {
        return unknown_command(words[0]);
    }
    if (n_words > 1) {
        return cli_misuse("unexpected argument '%s'; usage: quern help [COMMAND]", words[1]);
    }
    if (man) {
        cli_print_man(command);
    } else if (command != NULL) {
        cli_print_help(command);
    } else {
        cli_print_overview();
    }
    return CLI_OK;
}

static cli_exit run_command(const cli_command *command, int argc, char **argv)
{
    cli_args args;
    qn_error err;
    qn_error_init(&err);
    if (command->ranks && cli_ranks_begin(&err) != QN_OK) {
        return cli_fail(&err);
    }
    cli_exit parsed = cli_parse(&args, command, argc, argv);
    if (parsed != CLI_OK) {
        return parsed;
    }
    if (args.help) {
        cli_print_help(command);
        return CLI_OK;
    }
    bool lowered;
    if (qn_cpu_from_environment(&args.cpu, &lowered, &err) != QN_OK) {
        return cli_fail(&err);
    }
    if (lowered) {
        cli_note(&args, "note: QUERN_CPU asks for more than this machine has; using %s", qn_cpu_text(args.cpu));
    }
    return command->run(&args);
}

int main(int argc, char **argv)
{
    cli_exit code;
    signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes fails the write, which is told, as a full disk does */
    if (argc < 2) {
        code = cli_misuse("no command given; see 'quern --help'");
    } else if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        code = help(argc - 2, argv + 2);
    } else if (strcmp(argv[1], "help") == 0) {
        code = help(argc - 2, argv + 2);
    } else if (strcmp(argv[1], "--version") == 0 && argc > 2) {
        code = cli_misuse("unexpected argument '%s'; --version takes none", argv[2]);
    } else if (strcmp(argv[1], "--version") == 0) {
        printf("quern %s\n", qn_version());
        code = CLI_OK;
    } else {
        const cli_command *command = find_command(argv[1]);
        code = command != NULL ? run_command(command, argc - 2, argv + 2) : unknown_command(argv[1]);
    }
    /* A full disk or a closed pipe shows only here. */
    bool lost = ferror(stdout) != 0;
    if ((fflush(stdout) != 0 || lost) && code == CLI_OK) {
        perror("quern: standard output");
        code = CLI_FAILED;
    }
    return cli_ranks_end(code);
}
