/* quern recipe: what quantization does, as text to read and to edit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static const cli_option options[] = {
    {"passes", 0, NULL, "list the passes that recipes are made of, with their options"},
    {NULL, 0, NULL, NULL},
};

static json_t *options_of(size_t pass)
{
    json_t *list = json_array();
    qn_pass_option_info option;
    for (size_t k = 0; qn_pass_option_at(&option, pass, k); k++) {
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", option.name, "default", option.fallback,
                                              "choices", option.choices));
    }
    return list;
}

static void list_passes(const cli_args *args)
{
    json_t *list = json_array();
    qn_pass_info pass;
    for (size_t i = 0; qn_pass_at(&pass, i); i++) {
        if (args->json) {
            json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:o}", "name", pass.name, "summary", pass.summary,
                                                  "needs_data", pass.needs_data, "options", options_of(i)));
            continue;
        }
        printf("%-20s %s%s\n", pass.name, pass.summary, pass.needs_data ? " (needs data)" : "");
        qn_pass_option_info option;
        for (size_t k = 0; qn_pass_option_at(&option, i, k); k++) {
            printf("    %s=%s (%s)\n", option.name, option.fallback, option.choices);
        }
    }
    if (args->json) {
        json_t *object = cli_json_start(args);
        json_object_set_new(object, "passes", list);
        cli_print_json(object);
    } else {
        json_decref(list);
    }
}

static void list_recipes(const cli_args *args)
{
    json_t *list = json_array();
    for (size_t i = 0; qn_recipe_name(i) != NULL; i++) {
        if (args->json) {
            json_array_append_new(list,
                                  json_pack("{s:s, s:s}", "name", qn_recipe_name(i), "about", qn_recipe_summary(i)));
        } else {
            printf("%-8s %s\n", qn_recipe_name(i), qn_recipe_summary(i));
        }
    }
    if (args->json) {
        json_t *object = cli_json_start(args);
        json_object_set_new(object, "recipes", list);
        cli_print_json(object);
    } else {
        json_decref(list);
    }
}

static cli_exit run(cli_args *args)
{
    if (args->positional[0] != NULL && cli_has(args, "passes")) {
        return cli_misuse("give a recipe or --passes, not both");
    }
    if (args->positional[0] == NULL) {
        (cli_has(args, "passes") ? list_passes : list_recipes)(args);
        return CLI_OK;
    }
    qn_error err;
    qn_error_init(&err);
    char *text;
    if (qn_recipe_text(&text, args->positional[0], &err) != QN_OK) {
        return cli_fail(&err);
    }
    if (args->json) {
        json_t *object = cli_json_start(args);
        json_object_set_new(object, "yaml", cli_json_string(text));
        cli_print_json(object);
    } else {
        fputs(text, stdout);
    }
    free(text);
    return CLI_OK;
}

const cli_command cli_recipe = {
    .name = "recipe",
    .summary = "print a quantization recipe as YAML, or list recipes and passes",
    .usage = "[RECIPE] [--passes]",
    .description =
        "A recipe is a list of passes with options, and the number formats they start from. What is printed can be\n"
        "edited and given to 'quern quantize --recipe FILE.yaml'. Options may follow the name: 'best:rule=kl' sets\n"
        "option rule of every pass that has it. Without RECIPE, the recipes are listed.",
    .example = "quern recipe best > mine.yaml\nquern quantize model.onnx --data calib.npy --recipe mine.yaml -o q.onnx",
    .positional = {"[RECIPE]"},
    .options = options,
    .run = run,
};
