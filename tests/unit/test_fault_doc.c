/* Every specification in doc/coming-from.md is read, and fits LeNet as quern quantizes it; every one in doc/faults.md the network of
 * examples/digits. */
#include "fault_models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/link_path.h"
#include "fault/space.h"

/* "engine NAME", "format NAME" in the comment that leads a block. */
static bool leading_word(char word[64], const char *block, const char *key)
{
    const char *end = strchr(block, '\n'), *at = strstr(block, key);
    return block[0] == '#' && at != NULL && at < end && sscanf(at + strlen(key), " %63[^ \n]", word) == 1;
}

typedef qn_model *model_fn(const char *format);

static qn_model *lenet(const char *format)
{
    return qn_test_quantized_model("lenet_cifar10", format);
}

static qn_model *digits(const char *format)
{
    qn_error err;
    qn_error_init(&err);
    qn_model *model;
    qn_tensor x;
    qn_assert_ok(qn_model_load(&model, QN_SOURCE_DIR "/examples/digits/digits.onnx", &err), &err);
    qn_assert_ok(qn_tensor_read(&x, QN_SOURCE_DIR "/examples/digits/calib_x_u8.npy", &err), &err);
    x.dims[0] = 16;
    qn_model *quantized = qn_test_quantize(model, &x, 1.0 / 255, format);
    qn_tensor_free(&x);
    qn_model_free(model);
    return quantized;
}

static void check(const char *block, int number, model_fn *quantized)
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
    qn_model *model = quantized(leading_word(format, block, "format") ? format : NULL);
    qn_fault_targets targets;
    qn_program *program = qn_test_fault_program(model, engine, &targets);
    qn_link_path *links = NULL;
    if (spec.n_links > 0) {
        qn_assert_ok(qn_link_path_create(&links, model, engine, qn_cpu_best(), &spec, &err), &err);
        qn_assert_ok(qn_fault_targets_to_links(&targets, links, &err), &err);
    }
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
    qn_link_path_free(links);
    qn_program_free(program);
    qn_model_free(model);
    qn_fault_spec_free(&spec);
}

/* All blocks of YAML of a document; the rest is what was typed at a terminal. */
static int check_blocks(const char *path, model_fn *quantized)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char line[2048], block[8192];
    size_t used = 0;
    int number = 0;
    bool inside = false, yaml = false;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "```", 3) == 0) {
            if (inside && yaml) {
                check(block, ++number, quantized);
            }
            inside = !inside;
            yaml = strncmp(line, "```yaml", 7) == 0;
            used = 0;
        } else if (inside && yaml) {
            used += (size_t)snprintf(block + used, sizeof block - used, "%s", line);
            assert_true(used < sizeof block);
        }
    }
    fclose(file);
    assert_false(inside);
    return number;
}

static void coming_from(void **state)
{
    (void)state;
    assert_true(check_blocks(QN_SOURCE_DIR "/doc/coming-from.md", lenet) >= 6);
}

static void faults(void **state)
{
    (void)state;
    assert_true(check_blocks(QN_SOURCE_DIR "/doc/faults.md", digits) >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(coming_from), cmocka_unit_test(faults)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
