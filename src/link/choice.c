/* Choices of links as text. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "link/link.h"
#include "quern/plan.h"

static const char *const per_texts[] = {
#define PER_TEXT(name, value, text) [name] = text,
    QN_LINK_PER_LIST(PER_TEXT)
#undef PER_TEXT
};
static const char *const clamp_texts[] = {
#define CLAMP_TEXT(name, value, text) [name] = text,
    QN_LINK_CLAMP_LIST(CLAMP_TEXT)
#undef CLAMP_TEXT
};

/* Characters before the comma that ends a choice; commas within <> belong to its format. */
static size_t length_of(const char *text)
{
    size_t n = 0;
    for (int depth = 0; text[n] != '\0' && (text[n] != ',' || depth > 0); n++) {
        depth += text[n] == '<' ? 1 : text[n] == '>' ? -1 : 0;
    }
    return n;
}

/* What formats take when nobody says. */
static qn_link_per default_per(const char *format)
{
    qn_format f;
    if (strcmp(format, "codes") == 0 || qn_format_parse(&f, format, NULL) != QN_OK) {
        return QN_LINK_PER_TENSOR; /* codes, fp32 */
    }
    return f.block > 0 ? QN_LINK_PER_BLOCK : QN_LINK_PER_ITEM;
}

/* A word behind the format. */
static qn_status take_word(qn_link_choice *choice, bool taken[2], const char *word, const char *whole, qn_error *err)
{
    qn_link_per per;
    qn_link_clamp clamp;
    int64_t group;
    const bool is_per = qn_link_per_parse(&per, &group, word, NULL) == QN_OK;
    if (!is_per && qn_link_clamp_parse(&clamp, word, NULL) != QN_OK) {
        return qn_fail(
            err, QN_EINVAL, NULL,
            "link choice '%s': '%s' is neither a granularity (item, tensor, channel, token, block, group:N with N "
            "of 1 or more) nor a clamp (none, laplace, gelu, ds-aciq, mse); write FORMAT[/PER][/CLAMP]",
            whole, word);
    }
    if (taken[is_per]) {
        return qn_fail(err, QN_EINVAL, NULL, "link choice '%s' has two %s; write one", whole,
                       is_per ? "granularities" : "clamps");
    }
    taken[is_per] = true;
    if (is_per) {
        choice->per = per;
        choice->group = group;
    } else {
        choice->clamp = clamp;
    }
    return QN_OK;
}

/* Can frames be made so? Of one element, which takes every step that a tensor's way into a frame has. */
static qn_status try(const qn_link_choice *choice, const char *whole, qn_error *err)
{
    float one = 1.0f;
    unsigned char data[512];
    const qn_tensor x = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {1, 1}, .data = &one};
    qn_link_options options;
    qn_frame frame;
    qn_error inner;
    qn_error_init(&inner);
    qn_link_choice_options(&options, choice);
    qn_status status = qn_frame_plan(&frame, &options, x.rank, x.dims, &inner);
    if (status == QN_OK && frame.n_bytes > sizeof data) {
        status = qn_fail(&inner, QN_EINTERNAL, NULL, "a frame of one element has %zu bytes", frame.n_bytes);
    }
    status = status == QN_OK ? qn_frame_encode(data, &frame, &x, &options, &inner) : status;
    return status == QN_OK ? QN_OK : qn_fail(err, status, NULL, "link choice '%s': %s", whole, inner.message);
}

static qn_status parse(qn_link_choice *choice, char format[QN_FORMAT_NAME_MAX], char *text, const char *whole,
                       qn_error *err)
{
    bool taken[2] = {false, false};
    qn_format f;
    qn_error inner;
    qn_error_init(&inner);
    char *word = strchr(text, '/');
    if (word != NULL) {
        *word++ = '\0';
    }
    const bool plain = strcmp(text, "codes") == 0 || strcmp(text, qn_link_raw_name) == 0;
    if (plain) {
        snprintf(format, QN_FORMAT_NAME_MAX, "%s", text);
    } else if (qn_format_parse(&f, text, &inner) == QN_OK) {
        qn_format_name(format, f);
    } else {
        return qn_fail(err, QN_EINVAL, NULL, "link choice '%s': %s; write codes, fp32 or FORMAT[/PER][/CLAMP]", whole,
                       inner.message);
    }
    *choice =
        (qn_link_choice){.format = format, .per = default_per(format), .loss = (double)NAN, .sqnr_db = (double)NAN};
    if (plain && word != NULL) {
        return qn_fail(err, QN_EINVAL, NULL, "link choice '%s': %s has no parameters to choose; write %s alone", whole,
                       format, format);
    }
    while (word != NULL) {
        char *next = strchr(word, '/');
        if (next != NULL) {
            *next++ = '\0';
        }
        QN_TRY(take_word(choice, taken, word, whole, err));
        word = next;
    }
    return plain ? QN_OK : try(choice, whole, err);
}

qn_status qn_link_choice_parse(qn_link_choice *choice, char format[QN_FORMAT_NAME_MAX], const char *text,
                               const char **rest, qn_error *err)
{
    enum { MAX = 256 };
    char copy[MAX], whole[MAX];
    const size_t n = length_of(text);
    if (n == 0 || n >= MAX) {
        return qn_fail(err, QN_EINVAL, NULL, "link choice '%.40s%s': %s; write codes, fp32 or FORMAT[/PER][/CLAMP]",
                       text, n == 0 ? "" : "...", n == 0 ? "nothing is there" : "it is too long");
    }
    snprintf(copy, sizeof copy, "%.*s", (int)n, text);
    snprintf(whole, sizeof whole, "%s", copy);
    QN_TRY(parse(choice, format, copy, whole, err));
    if (rest != NULL) {
        *rest = text[n] == ',' ? text + n + 1 : NULL;
    } else if (text[n] != '\0') {
        return qn_fail(err, QN_EINVAL, NULL, "link choice '%s' has something behind it: '%.40s'; write one choice",
                       whole, text + n);
    }
    return QN_OK;
}

void qn_link_choice_text(char text[QN_LINK_CHOICE_MAX], const qn_link_choice *choice)
{
    char per[32] = "";
    if (choice->per == QN_LINK_PER_GROUP) {
        snprintf(per, sizeof per, "/group:%lld", (long long)choice->group);
    } else if (choice->per != default_per(choice->format)) {
        snprintf(per, sizeof per, "/%s", per_texts[choice->per]);
    }
    snprintf(text, QN_LINK_CHOICE_MAX, "%.*s%s%s%s", QN_FORMAT_NAME_MAX - 1, choice->format, per,
             choice->clamp != QN_LINK_CLAMP_NONE ? "/" : "",
             choice->clamp != QN_LINK_CLAMP_NONE ? clamp_texts[choice->clamp] : "");
}

void qn_link_choice_options(qn_link_options *options, const qn_link_choice *choice)
{
    qn_link_options_init(options);
    if (strcmp(choice->format, "codes") != 0) {
        options->format = choice->format;
        options->per = choice->per;
        options->group = choice->group;
        options->clamp = choice->clamp;
    }
}
