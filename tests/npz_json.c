#include "npz_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "npz_meta.h"
#include "support.h"

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

static qn_status read_array(qn_tensor *t, const char *path, const char *name, qn_error *err)
{
    char whole[1024];
    snprintf(whole, sizeof whole, "%s:%s", path, name);
    qn_error_init(err);
    return qn_tensor_read(t, whole, err);
}

qn_tensor npz_read(const char *path, const char *name)
{
    qn_tensor t = {0};
    qn_error err;
    qn_assert_ok(read_array(&t, path, name, &err), &err);
    return t;
}

qn_tensor npz_read_optional(const char *path, const char *name)
{
    qn_tensor t = {0};
    qn_error err;
    return read_array(&t, path, name, &err) == QN_OK ? t : (qn_tensor){0};
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
