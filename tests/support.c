#define _XOPEN_SOURCE 700 /* nftw */
#include "support.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATHS = 8, PATH_BYTES = 1024 };

static char *next_path(void)
{
    static char paths[PATHS][PATH_BYTES];
    static unsigned next;
    return paths[next++ % PATHS];
}

const char *qn_shared(const char *relative)
{
    char *path = next_path();
    const char *root = getenv("QN_SHARED");
    snprintf(path, PATH_BYTES, "%s/%s", root != NULL ? root : QN_SOURCE_DIR "/../shared", relative);
    if (access(path, R_OK) != 0) {
        fprintf(stderr, "skipped: needs %s\n", path);
        return NULL;
    }
    return path;
}

static char scratch[64];

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static void remove_scratch(void)
{
    nftw(scratch, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *qn_scratch(void)
{
    if (scratch[0] == '\0') {
        snprintf(scratch, sizeof scratch, "/tmp/quern-test-XXXXXX");
        if (mkdtemp(scratch) == NULL) {
            fail_msg("cannot make a scratch directory");
        }
        atexit(remove_scratch);
    }
    return scratch;
}

const char *qn_scratch_file(const char *name)
{
    char *path = next_path();
    snprintf(path, PATH_BYTES, "%s/%s", qn_scratch(), name);
    return path;
}

void qn_assert_ok(qn_status status, const qn_error *err)
{
    if (status != QN_OK) {
        fail_msg("%s: %s: %s", qn_status_text(status), err != NULL ? err->where : "", err != NULL ? err->message : "");
    }
}

void qn_assert_fails(qn_status status, const qn_error *err, qn_status expected, const char *fragment)
{
    if (status != expected) {
        fail_msg("status is '%s', expected '%s' (%s: %s)", qn_status_text(status), qn_status_text(expected), err->where,
                 err->message);
    }
    assert_int_equal(err->status, status);
    if (strstr(err->where, fragment) == NULL && strstr(err->message, fragment) == NULL) {
        fail_msg("'%s' is neither in where '%s' nor in message '%s'", fragment, err->where, err->message);
    }
}

uint64_t qn_test_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545F4914F6CDD1Du;
}

float qn_test_uniform(uint64_t *state, float lo, float hi)
{
    return lo + (hi - lo) * (float)(qn_test_random(state) >> 40) * 0x1p-24f;
}
