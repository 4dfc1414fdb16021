/* Base room: errors, arenas, files, threads, CPU masks. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/threads.h"
#include "quern/cpu.h"

static void first_failure_wins(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    assert_int_equal(qn_fail(&err, QN_EFORMAT, "a.onnx", "first %d", 1), QN_EFORMAT);
    assert_int_equal(qn_fail(&err, QN_EIO, "b.onnx", "second"), QN_EIO);
    assert_int_equal(err.status, QN_EFORMAT);
    assert_string_equal(err.message, "first 1");
    qn_error_prefix(&err, "model");
    assert_string_equal(err.where, "model, a.onnx");
    assert_int_equal(qn_fail(NULL, QN_EIO, NULL, "no record"), QN_EIO);
}

static void long_messages_are_cut_at_a_character(void **state)
{
    (void)state;
    static char text[2 * QN_ERROR_MESSAGE_MAX];
    for (size_t i = 0; i + 2 < sizeof text; i += 2) {
        memcpy(text + i, "\xC3\xA9", 2);
    }
    qn_error err;
    qn_error_init(&err);
    qn_fail(&err, QN_EINVAL, NULL, "x%s", text);
    size_t length = strlen(err.message);
    assert_true(length < sizeof err.message);
    assert_string_equal(err.message + length - 3, "...");
    assert_int_equal((unsigned char)err.message[length - 4], 0xA9); /* a whole character before the dots */
}

static void messages_are_one_line(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_fail(&err, QN_EFORMAT, "a\nb", "name '%s'", "x\r\n\x1b[31my\x7f\xC3\xA9");
    assert_string_equal(err.where, "a?b");
    assert_string_equal(err.message, "name 'x???[31my?\xC3\xA9'");
}

static void arena_memory_is_zeroed_aligned_and_distinct(void **state)
{
    (void)state;
    qn_arena arena = {0};
    unsigned char *last = NULL;
    for (size_t i = 0; i < 300; i++) {
        unsigned char *memory = qn_arena_alloc(&arena, i * 17);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % QN_CACHE_LINE, 0);
        for (size_t k = 0; k < i * 17; k++) {
            assert_int_equal(memory[k], 0);
        }
        memset(memory, 0xAA, i * 17);
        assert_ptr_not_equal(memory, last);
        last = i > 0 ? memory : NULL;
    }
    assert_string_equal(qn_arena_printf(&arena, "%s-%d", "conv", 7), "conv-7");
    assert_null(qn_arena_array(&arena, SIZE_MAX / 2, 4));
    qn_arena_free(&arena);
}

static void arenas_take_over_what_others_own(void **state)
{
    (void)state;
    enum { LARGE = 200000 };
    qn_arena arena = {0}, other = {0};
    unsigned char *small = qn_arena_alloc(&other, 10);
    unsigned char *large = qn_arena_alloc_uncleared(&other, LARGE);
    assert_non_null(small);
    assert_non_null(large);
    assert_int_equal((uintptr_t)large % QN_CACHE_LINE, 0);
    memset(large, 0x5A, LARGE);
    unsigned char *next = qn_arena_alloc(&other, 10); /* beside the first one still: a large block is on its own */
    assert_ptr_equal(next, small + QN_CACHE_LINE);
    qn_arena_take(&arena, &other);
    qn_arena_free(&other);
    assert_null(other.blocks);
    assert_int_equal(large[0], 0x5A);
    assert_int_equal(large[LARGE - 1], 0x5A);
    memset(small, 1, 10);
    qn_arena_take(&arena, &other); /* of nothing */
    assert_non_null(qn_arena_alloc(&arena, LARGE));
    qn_arena_free(&arena);
}

static void output_appears_whole_or_not_at_all(void **state)
{
    (void)state;
    const char *path = qn_scratch_file("out.bin");
    qn_error err;
    qn_error_init(&err);
    qn_file_out out;
    qn_assert_ok(qn_file_create(&out, path, false, &err), &err);
    qn_assert_ok(qn_file_write(&out, "abc", 3, &err), &err);
    assert_int_not_equal(access(path, F_OK), 0);
    qn_assert_ok(qn_file_commit(&out, &err), &err);
    qn_file_bytes file;
    qn_assert_ok(qn_file_read(&file, path, &err), &err);
    assert_int_equal(file.size, 3);
    assert_memory_equal(file.data, "abc", 3);
    qn_file_bytes_free(&file);

    qn_assert_fails(qn_file_create(&out, path, false, &err), &err, QN_EEXIST, "already exists");
    qn_error_init(&err);
    qn_assert_ok(qn_file_create(&out, path, true, &err), &err);
    qn_assert_ok(qn_file_write(&out, "de", 2, &err), &err);
    qn_file_abandon(&out);
    qn_assert_ok(qn_file_read(&file, path, &err), &err);
    assert_int_equal(file.size, 3);
    qn_file_bytes_free(&file);
    char command[256];
    snprintf(command, sizeof command, "test -z \"$(ls %s/*.tmp.* 2>/dev/null)\"", qn_scratch());
    assert_int_equal(system(command), 0);
}

static void what_appears_meanwhile_is_kept(void **state)
{
    (void)state;
    const char *path = qn_scratch_file("raced.bin");
    qn_error err;
    qn_error_init(&err);
    qn_file_out out;
    qn_assert_ok(qn_file_create(&out, path, false, &err), &err);
    qn_assert_ok(qn_file_write(&out, "ours", 4, &err), &err);
    assert_int_equal(symlink("nowhere", path), 0);
    qn_assert_fails(qn_file_commit(&out, &err), &err, QN_EEXIST, "already exists");
    char target[16];
    assert_int_equal(readlink(path, target, sizeof target), 7);
    char command[256];
    snprintf(command, sizeof command, "test -z \"$(ls %s/*.tmp.* 2>/dev/null)\"", qn_scratch());
    assert_int_equal(system(command), 0);
}

static void unusable_paths_are_refused(void **state)
{
    (void)state;
    qn_error err;
    qn_file_out out;
    qn_file_bytes file;
    qn_error_init(&err);
    qn_assert_fails(qn_file_create(&out, qn_scratch(), true, &err), &err, QN_EIO, "is a directory");
    qn_error_init(&err);
    qn_assert_fails(qn_file_create(&out, "/dev/null", true, &err), &err, QN_EIO, "not a regular file");
    qn_error_init(&err);
    qn_assert_fails(qn_file_create(&out, qn_scratch_file("no/such/dir"), true, &err), &err, QN_EIO, "cannot create");
    qn_error_init(&err);
    qn_assert_fails(qn_file_read(&file, qn_scratch(), &err), &err, QN_EIO, "is a directory");
    qn_error_init(&err);
    qn_assert_fails(qn_file_read(&file, qn_scratch_file("absent"), &err), &err, QN_EIO, "No such file");
}

static void files_that_shrink_or_are_too_large_are_refused(void **state)
{
    (void)state;
    const char *path = qn_scratch_file("shrinks.bin");
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_file_write_all(path, true, "abcdef", 6, &err), &err);
    int fd;
    int64_t size;
    qn_assert_ok(qn_file_open(&fd, &size, path, &err), &err);
    assert_int_equal(size, 6);
    assert_int_equal(truncate(path, 2), 0);
    char data[6];
    qn_assert_fails(qn_file_read_exactly(fd, data, 6, 0, path, &err), &err, QN_EIO, "has become shorter");
    close(fd);
    assert_int_equal(truncate(path, (off_t)QN_FILE_READ_MAX + 1), 0);
    qn_file_bytes file;
    qn_error_init(&err);
    qn_assert_fails(qn_file_read(&file, path, &err), &err, QN_ELIMIT, "more than the 2147483647");
    unlink(path);
}

static void sha256_of_abc(void **state)
{
    (void)state;
    char hex[QN_SHA256_HEX];
    qn_sha256_hex(hex, "abc", 3); /* FIPS 180-2, appendix B.1 */
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static qn_status mark(void *ctx, int worker, int64_t item, qn_error *err)
{
    (void)worker;
    int *seen = ctx;
    __atomic_fetch_add(&seen[item], 1, __ATOMIC_RELAXED);
    return item == 700 || item == 900 ? qn_fail(err, QN_ERANGE, NULL, "item %d", (int)item) : QN_OK;
}

static void every_item_runs_once_and_the_lowest_failure_wins(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        int seen[1000] = {0};
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_parallel_for(threads, 700, mark, seen, &err), &err);
        for (int i = 0; i < 700; i++) {
            assert_int_equal(seen[i], 1);
        }
        assert_int_equal(qn_parallel_for(threads, 1000, mark, seen, &err), QN_ERANGE);
        assert_string_equal(err.message, "item 700");
    }
}

static void cpu_mask_from_environment(void **state)
{
    (void)state;
    qn_cpu cpu;
    bool lowered;
    qn_error err;
    qn_error_init(&err);
    setenv("QUERN_CPU", "reference", 1);
    qn_assert_ok(qn_cpu_from_environment(&cpu, &lowered, &err), &err);
    assert_int_equal(cpu, QN_CPU_REFERENCE);
    assert_false(lowered);
    setenv("QUERN_CPU", "amx", 1);
    qn_assert_ok(qn_cpu_from_environment(&cpu, &lowered, &err), &err);
    assert_int_equal(lowered, qn_cpu_best() < QN_CPU_AMX);
    assert_int_equal(cpu, qn_cpu_best());
    setenv("QUERN_CPU", "mmx", 1);
    qn_assert_fails(qn_cpu_from_environment(&cpu, &lowered, &err), &err, QN_EINVAL, "reference, avx2");
    unsetenv("QUERN_CPU");
}

static void rounding_saturates_and_ties_go_to_even(void **state)
{
    (void)state;
    assert_int_equal(qn_round_clamp(0.5f, 0, 0, 255), 0);
    assert_int_equal(qn_round_clamp(1.5f, 0, 0, 255), 2);
    assert_int_equal(qn_round_clamp(2.5f, 10, 0, 255), 12);
    assert_int_equal(qn_round_clamp(-0.5f, 128, 0, 255), 128);
    assert_int_equal(qn_round_clamp(INFINITY, 3, 0, 255), 255);
    assert_int_equal(qn_round_clamp(-3e38f, 3, -128, 127), -128);
    assert_int_equal(qn_add_wrap_s32(INT32_MAX, 1), INT32_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_failure_wins),
        cmocka_unit_test(long_messages_are_cut_at_a_character),
        cmocka_unit_test(messages_are_one_line),
        cmocka_unit_test(arena_memory_is_zeroed_aligned_and_distinct),
        cmocka_unit_test(arenas_take_over_what_others_own),
        cmocka_unit_test(output_appears_whole_or_not_at_all),
        cmocka_unit_test(what_appears_meanwhile_is_kept),
        cmocka_unit_test(unusable_paths_are_refused),
        cmocka_unit_test(files_that_shrink_or_are_too_large_are_refused),
        cmocka_unit_test(sha256_of_abc),
        cmocka_unit_test(every_item_runs_once_and_the_lowest_failure_wins),
        cmocka_unit_test(cpu_mask_from_environment),
        cmocka_unit_test(rounding_saturates_and_ties_go_to_even),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
