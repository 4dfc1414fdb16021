#include "npz_meta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "support.h"

static zip_t *open_archive(const char *path)
{
    int code;
    zip_t *archive = zip_open(path, ZIP_RDONLY, &code);
    if (archive == NULL) {
        fail_msg("%s is not a zip archive", path);
    }
    return archive;
}

char *qn_npz_text(const char *npz_path, const char *member)
{
    char name[256];
    snprintf(name, sizeof name, "%s.npy", member);
    zip_t *archive = open_archive(npz_path);
    zip_stat_t stat;
    zip_file_t *file = zip_fopen(archive, name, 0);
    if (file == NULL || zip_stat(archive, name, 0, &stat) != 0) {
        fail_msg("%s has no member %s", npz_path, name);
    }
    unsigned char *bytes = malloc(stat.size);
    assert_non_null(bytes);
    assert_int_equal(zip_fread(file, bytes, stat.size), (zip_int64_t)stat.size);
    /* npy 1.0: 8 bytes of magic and version, u16 length of the header, header; then UTF-32 characters. */
    size_t start = 10 + bytes[8] + 256u * bytes[9], n = (stat.size - start) / 4;
    assert_int_equal(bytes[6], 1);
    char *text = malloc(n + 1);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) {
        text[i] = (char)bytes[start + 4 * i];
    }
    text[n] = '\0';
    free(bytes);
    zip_fclose(file);
    zip_discard(archive);
    return text;
}

char **qn_npz_names(const char *npz_path, const char *suffix)
{
    zip_t *archive = open_archive(npz_path);
    zip_int64_t n = zip_get_num_entries(archive, 0);
    char **names = calloc((size_t)n + 1, sizeof *names), ending[64];
    assert_non_null(names);
    snprintf(ending, sizeof ending, "%s.npy", suffix);
    size_t n_names = 0, n_ending = strlen(ending);
    for (zip_int64_t i = 0; i < n; i++) {
        const char *name = zip_get_name(archive, (zip_uint64_t)i, 0);
        size_t length = strlen(name);
        if (length > n_ending && strcmp(name + length - n_ending, ending) == 0) {
            names[n_names] = strdup(name);
            names[n_names++][length - n_ending] = '\0';
        }
    }
    zip_discard(archive);
    return names;
}

void qn_npz_names_free(char **names)
{
    for (char **name = names; *name != NULL; name++) {
        free(*name);
    }
    free(names);
}
