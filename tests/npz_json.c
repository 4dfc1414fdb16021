#include "npz_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "npz_meta.h"
#include "support.h"
#include "tensor/npy.h"

/* Python writes NaN and infinities, which JSON has not. The texts have no such words in strings. */
static void replace_words(char *text)
{
    static const char *const words[][2] = {{"-Infinity", "null     "}, {"Infinity", "null    "}, {"NaN", "0.0"}};
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
        size_t length = strlen(words[w][0]);
        for (char *at = strstr(text, words[w][0]); at != NULL; at = strstr(at, words[w][0])) {
            memcpy(at, words[w][1], length);
        }
    }
}

json_t *npz_meta_read(const char *path, const char *name)
{
    char *text = qn_npz_text(path, name);
    replace_words(text);
    json_error_t error;
    json_t *json = json_loads(text, 0, &error);
    free(text);
    if (json == NULL) {
        fail_msg("%s:%s is no JSON: %s", path, name, error.text);
    }
    return json;
}

/* The archive that was read last stays open: opening one parses the names of all its members, thousands in some. */
static zip_t *archive_of(const char *path)
{
    static zip_t *archive;
    static char opened[1024];
    if (archive == NULL || strcmp(opened, path) != 0) {
        zip_discard(archive);
        archive = zip_open(path, ZIP_RDONLY, NULL);
        if (archive == NULL) {
            fail_msg("%s is not a zip archive", path);
        }
        snprintf(opened, sizeof opened, "%s", path);
    }
    return archive;
}

/* What the library makes of arrays that memory does not hold as they stand in the file. */
static qn_tensor read_converted(const char *path, const char *name)
{
    char whole[1024];
    snprintf(whole, sizeof whole, "%s:%s", path, name);
    qn_tensor t = {0};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_read(&t, whole, &err), &err);
    return t;
}

qn_tensor npz_read_optional(const char *path, const char *name)
{
    char member[256];
    snprintf(member, sizeof member, "%s.npy", name);
    zip_t *archive = archive_of(path);
    zip_stat_t stat;
    zip_file_t *file = zip_fopen(archive, member, 0);
    if (file == NULL) {
        return (qn_tensor){0};
    }
    assert_int_equal(zip_stat(archive, member, 0, &stat), 0);
    unsigned char *bytes = malloc(stat.size);
    assert_non_null(bytes);
    assert_int_equal(zip_fread(file, bytes, stat.size), (zip_int64_t)stat.size);
    zip_fclose(file);
    qn_array_header h;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_npy_parse(&h, bytes, stat.size, member, &err), &err);
    qn_tensor t = {0};
    if (h.swapped || h.fortran) {
        t = read_converted(path, name);
    } else {
        qn_assert_ok(qn_tensor_alloc(&t, h.dtype, h.rank, h.dims, &err), &err);
        assert_true(h.data_offset + h.n_bytes <= (int64_t)stat.size);
        memcpy(t.data, bytes + h.data_offset, (size_t)h.n_bytes);
    }
    free(bytes);
    return t;
}

qn_tensor npz_read(const char *path, const char *name)
{
    qn_tensor t = npz_read_optional(path, name);
    if (t.data == NULL) {
        fail_msg("%s has no array %s", path, name);
    }
    return t;
}

char *npz_name(const char *path, const char *prefix, int index)
{
    char **names = qn_npz_names(path, ""), *found = NULL;
    size_t length = strlen(prefix);
    for (char **name = names; *name != NULL && found == NULL; name++) {
        if (strncmp(*name, prefix, length) == 0 && index-- == 0) {
            found = strdup(*name + length);
        }
    }
    qn_npz_names_free(names);
    return found;
}
