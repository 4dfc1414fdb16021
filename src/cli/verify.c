/* quern verify: an export read again and compared with the model in it. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/session.h"

static void print_check(const cli_args *args, const qn_export_check *check)
{
    if (args->json) {
        json_t *object = cli_json_start(args);
        json_object_set_new(object, "directory", cli_json_string(args->positional[0]));
        json_object_set_new(object, "files", json_integer(check->n_files));
        json_object_set_new(object, "tensors", json_integer(check->n_tensors));
        json_object_set_new(object, "elements", json_integer(check->n_elements));
        json_object_set_new(object, "vectors", json_integer(check->n_vectors));
        json_object_set_new(object, "differences", json_integer(check->n_differences));
        json_object_set_new(object, "told", cli_json_lines(check->text));
        cli_print_json(object);
        return;
    }
    printf("%s", check->text);
    printf("%-13s %lld\n", "files", (long long)check->n_files);
    printf("%-13s %lld in %lld arrays, element by element\n", "integers", (long long)check->n_elements,
           (long long)check->n_tensors);
    printf("%-13s %lld\n", "vectors", (long long)check->n_vectors);
    if (check->n_differences == 0) {
        printf("%-13s none: all of it is what the model says\n", "differences");
    } else {
        printf("%-13s %lld\n", "differences", (long long)check->n_differences);
    }
}

static cli_exit run(cli_args *args)
{
    qn_error err;
    qn_error_init(&err);
    qn_export_check check = {0};
    cli_progress progress;
    cli_progress_start(&progress, args, "verifying");
    const qn_status status = qn_export_verify(&check, args->positional[0], cli_progress_step, &progress, &err);
    cli_progress_end(&progress);
    if (status != QN_OK) {
        return cli_fail(&err);
    }
    print_check(args, &check);
    const cli_exit code = check.n_differences == 0 ? CLI_OK : CLI_DIFFER;
    free(check.text);
    return code;
}

const cli_command cli_verify = {
    .name = "verify",
    .summary = "read an export again and compare all of it with the model in it",
    .usage = "DIR [--json]",
    .description =
        "Every file that the manifest lists must be there with its size and SHA-256, and no other. Integers are read\n"
        "again and compared with the model's codes, element by element. Then all of it is made once more, in memory,\n"
        "and compared byte by byte; the vectors' inputs run through the engine again. Differences are told with file,\n"
        "tensor and element, the first 20 of them. DIR is taken to come from anywhere: nothing outside it is read.",
    .example = "quern export q.onnx --to npz -o out\n"
               "quern verify out",
    .positional = {"DIR"},
    .options = NULL,
    .run = run,
};
