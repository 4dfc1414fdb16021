/* quern merge: shards of a campaign as one store. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "quern/fault.h"

static const cli_option options[] = {
    {"output", 'o', "FILE", "the store of all; required"},
    {"force", 'f', NULL, "overwrite FILE"},
    {NULL, 0, NULL, NULL},
};

static cli_exit run(cli_args *args)
{
    const char *output = cli_value(args, "output");
    if (output == NULL) {
        return cli_misuse("-o FILE is missing; usage: quern merge %s", args->command->usage);
    }
    qn_error err;
    qn_error_init(&err);
    char *missing = NULL;
    if (qn_campaign_merge(output, cli_has(args, "force"), (const char *const *)args->rest, (size_t)args->n_rest,
                          &missing, &err) != QN_OK) {
        return cli_fail(&err);
    }
    const char *lacks = missing != NULL ? missing : "";
    if (args->json) {
        json_t *object = cli_json_start(args);
        json_object_set_new(object, "store", cli_json_string(output));
        json_object_set_new(object, "stores", json_integer(args->n_rest));
        json_object_set_new(object, "missing", cli_json_string(lacks));
        cli_print_json(object);
    } else {
        printf("%s: %d store%s merged%s%s\n", output, args->n_rest, args->n_rest == 1 ? "" : "s", lacks[0] != '\0' ? "; " : "", lacks);
    }
    free(missing);
    return CLI_OK;
}

const cli_command cli_merge = {
    .name = "merge",
    .summary = "join the stores of a campaign's shards",
    .usage = "a.db b.db ... -o all.db",
    .description =
        "Of stores that 'quern inject --shard I/N' made, one with the rows of all. Stores of different campaigns are\n"
        "refused, and so are two that hold the same faults. Shards that are missing are named; what was merged can be\n"
        "merged with them later.",
    .example = "quern inject q.onnx --data x.npy --where weights --shard 1/2 -o a.db\n"
               "quern inject q.onnx --data x.npy --where weights --shard 2/2 -o b.db\n"
               "quern merge a.db b.db -o all.db",
    .positional = {"STORE..."},
    .options = options,
    .run = run,
};
