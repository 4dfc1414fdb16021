/* Directories of output: whole or not at all, and nothing of the user's is replaced. */
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/directory.h"
#include "base/file.h"

static char home[64];

static char *under(const char *name)
{
    static char paths[4][160];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", home, name);
    return path;
}

static int entries(const char *path)
{
    DIR *dir = opendir(path);
    int n = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n - 2;
}

static int set_up(void **state)
{
    (void)state;
    strcpy(home, "/tmp/qn_directory_XXXXXX");
    return mkdtemp(home) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", home);
    return system(command);
}

static void write_file(const char *path, const char *text)
{
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_file_write_all(path, true, text, strlen(text), &err), &err);
}

static void make(const char *path, bool overwrite, const char *name, const char *text)
{
    qn_error err;
    qn_error_init(&err);
    qn_directory_out out;
    qn_assert_ok(qn_directory_create(&out, path, overwrite, "mark", &err), &err);
    qn_assert_ok(qn_directory_write(&out, "mark", "", 0, &err), &err);
    qn_assert_ok(qn_directory_write(&out, name, text, strlen(text), &err), &err);
    qn_assert_ok(qn_directory_commit(&out, &err), &err);
}

static void assert_file(const char *path, const char *text)
{
    qn_error err;
    qn_error_init(&err);
    qn_file_bytes bytes;
    qn_assert_ok(qn_file_read(&bytes, path, &err), &err);
    assert_int_equal(bytes.size, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.size);
    qn_file_bytes_free(&bytes);
}

static void test_appears_whole(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_directory_out out;
    qn_assert_ok(qn_directory_create(&out, under("a/"), false, "mark", &err), &err);
    qn_assert_ok(qn_directory_write(&out, "x/y/z.txt", "one", 3, &err), &err);
    assert_int_equal(access(under("a"), F_OK), -1);
    qn_assert_ok(qn_directory_commit(&out, &err), &err);
    assert_file(under("a/x/y/z.txt"), "one");
    assert_int_equal(entries(home), 1);
}

static void test_abandoned_leaves_nothing(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_directory_out out;
    qn_assert_ok(qn_directory_create(&out, under("a"), false, "mark", &err), &err);
    qn_assert_ok(qn_directory_write(&out, "x/y", "one", 3, &err), &err);
    qn_directory_abandon(&out);
    assert_int_equal(entries(home), 0);
}

static void refused(const char *path, bool overwrite, qn_status status)
{
    qn_error err;
    qn_error_init(&err);
    qn_directory_out out;
    assert_int_equal(qn_directory_create(&out, path, overwrite, "mark", &err), status);
}

static void test_only_a_former_one_is_replaced(void **state)
{
    (void)state;
    make(under("a"), false, "old/file", "old");
    refused(under("a"), false, QN_EEXIST);
    make(under("a"), true, "new", "new");
    assert_file(under("a/new"), "new");
    assert_int_equal(access(under("a/old"), F_OK), -1);
    assert_int_equal(entries(home), 1);
    mkdir(under("empty"), 0777);
    make(under("empty"), true, "new", "new");
    mkdir(under("mine"), 0777);
    write_file(under("mine/thesis"), "years");
    refused(under("mine"), true, QN_EINVAL);
    write_file(under("file"), "");
    refused(under("file"), true, QN_EINVAL);
    assert_int_equal(symlink(under("a"), under("link")), 0);
    refused(under("link"), true, QN_EINVAL);
    refused(".", true, QN_EINVAL);
    refused("..", true, QN_EINVAL);
    refused("", true, QN_EINVAL);
    refused(under("no/such"), true, QN_EIO);
    assert_file(under("mine/thesis"), "years");
}

/* What is made in the meantime by somebody else stays. */
static void test_a_race_is_lost_without_harm(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_directory_out out;
    qn_assert_ok(qn_directory_create(&out, under("a"), false, "mark", &err), &err);
    make(under("a"), false, "theirs", "theirs");
    assert_int_equal(qn_directory_commit(&out, &err), QN_EEXIST);
    assert_file(under("a/theirs"), "theirs");
    assert_int_equal(entries(home), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_appears_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_abandoned_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only_a_former_one_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_race_is_lost_without_harm, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
