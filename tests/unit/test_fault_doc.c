/* Every specification in doc/coming-from.md is read, and fits LeNet as quern quantizes it. */
#include "fault_models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/space.h"

/* "engine NAME", "format NAME" in the comment that leads a block. */
static bool leading_word(char word[64], const char *block, const char *key)
{
    const char *end = strchr(block, '\n'), *at = strstr(block, key);
    return block[0] == '#' && at != NULL && at < end && sscanf(at + strlen(key), " %63[^ \n]", word) == 1;
}

static void check(const char *block, int number)
{
    qn_error err;
    qn_error_init(&err);
    char name[32], format[64], engine_name[64];
    snprintf(name, sizeof name, "block %d", number);
    qn_fault_spec spec;
    qn_assert_ok(qn_fault_spec_parse(&spec, block, name, &err), &err);
    assert_true(spec.n_sets > 0);
    qn_engine engine = QN_ENGINE_INTEGER;
    if (leading_word(engine_name, block, "engine")) {
        engine = strcmp(engine_name, "simulate") == 0 ? QN_ENGINE_SIMULATE : QN_ENGINE_FLOAT;
    }
    qn_model *model = qn_test_quantized_model("lenet_cifar10", leading_word(format, block, "format") ? format : NULL);
    qn_fault_targets targets;
    qn_program *program = qn_test_fault_program(model, engine, &targets);
    qn_fault_space space;
    qn_assert_ok(qn_fault_space_make(&space, &spec, &targets, program, 1, 100, &err), &err);
    assert_true(space.n_strata > 0);
    qn_arena arena = {0};
    for (int i = 0; i < space.n_strata; i++) {
        qn_fault fault = {0};
        assert_true(space.strata[i].population > 0);
        qn_assert_ok(qn_fault_space_draw(&space, i, 0, &arena, &fault, &err), &err);
    }
    qn_arena_free(&arena);
    qn_fault_space_free(&space);
    qn_fault_targets_free(&targets);
    qn_program_free(program);
    qn_model_free(model);
    qn_fault_spec_free(&spec);
}

static void coming_from(void **state)
{
    (void)state;
    FILE *file = fopen(QN_SOURCE_DIR "/doc/coming-from.md", "rb");
    assert_non_null(file);
    char line[2048], block[8192];
    size_t used = 0;
    int number = 0;
    bool inside = false;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "```", 3) == 0) {
            if (inside) {
                check(block, ++number);
            }
            inside = !inside;
            used = 0;
        } else if (inside) {
            used += (size_t)snprintf(block + used, sizeof block - used, "%s", line);
        }
    }
    fclose(file);
    assert_false(inside);
    assert_true(number >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(coming_from)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
