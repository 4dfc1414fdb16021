/* $readmemh files, Xilinx .coe, Intel .mif. */
#include "export/mem/formats.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const qn_mem_format_info qn_mem_formats[QN_N_MEM_FORMATS] = {
    [QN_MEM_READMEMH] = {"mem", "//", "$readmemh"},
    [QN_MEM_COE] = {"coe", ";", "Xilinx Block Memory Generator"},
    [QN_MEM_MIF] = {"mif", "--", "Intel Quartus"},
};

void qn_mem_begin(qn_export_text *text, qn_mem_format format, int word_bits, int64_t n_words)
{
    if (format == QN_MEM_COE) {
        qn_export_printf(text, "memory_initialization_radix=16;\nmemory_initialization_vector=\n");
    } else if (format == QN_MEM_MIF) {
        qn_export_printf(text, "WIDTH=%d;\nDEPTH=%" PRId64 ";\nADDRESS_RADIX=UNS;\nDATA_RADIX=HEX;\nCONTENT BEGIN\n",
                         word_bits, n_words);
    }
}

void qn_mem_word(qn_export_text *text, qn_mem_format format, int word_bits, int64_t n_words, int64_t i, uint64_t word)
{
    if (format == QN_MEM_MIF) {
        qn_export_integer(text, i);
        qn_export_append(text, " : ", 3);
    }
    qn_export_hex(text, word, (word_bits + 3) / 4);
    const char *end = format == QN_MEM_MIF                       ? ";\n"
                      : format == QN_MEM_COE && i + 1 == n_words ? ";\n"
                      : format == QN_MEM_COE                     ? ",\n"
                                                                 : "\n";
    qn_export_append(text, end, strlen(end));
}

void qn_mem_end(qn_export_text *text, qn_mem_format format)
{
    if (format == QN_MEM_MIF) {
        qn_export_printf(text, "END;\n");
    }
}

typedef struct reader {
    const char *at, *comment, *where;
    int line;
} reader;

/* White space and comments. */
static void skip(reader *r)
{
    const size_t n = strlen(r->comment);
    for (;;) {
        if (*r->at == '\n') {
            r->line++;
            r->at++;
        } else if (isspace((unsigned char)*r->at)) {
            r->at++;
        } else if (strncmp(r->at, r->comment, n) == 0) {
            r->at += strcspn(r->at, "\n");
        } else {
            return;
        }
    }
}

static qn_status fail_read(const reader *r, const char *wanted, qn_error *err)
{
    return qn_fail(err, QN_EFORMAT, r->where, "line %d: %s is expected, '%.*s' is found", r->line, wanted,
                   (int)strcspn(r->at, "\n") < 40 ? (int)strcspn(r->at, "\n") : 40, r->at);
}

/* Right behind what was read: a ";" of its own starts a comment of a .coe file. */
static qn_status read_mark(reader *r, const char *text, qn_error *err)
{
    if (strncmp(r->at, text, strlen(text)) != 0) {
        return fail_read(r, text, err);
    }
    r->at += strlen(text);
    return QN_OK;
}

static qn_status read_text(reader *r, const char *text, qn_error *err)
{
    skip(r);
    return read_mark(r, text, err);
}

/* "17 :" */
static qn_status read_address(reader *r, int64_t address, qn_error *err)
{
    char *end, wanted[32];
    skip(r);
    const bool digit = *r->at >= '0' && *r->at <= '9';
    if (!digit || strtoll(r->at, &end, 10) != address) {
        snprintf(wanted, sizeof wanted, "%" PRId64 " :", address);
        return fail_read(r, wanted, err);
    }
    r->at = end;
    return read_mark(r, " :", err);
}

static qn_status read_hex(reader *r, uint64_t *word, int word_bits, qn_error *err)
{
    skip(r);
    const size_t n = strspn(r->at, "0123456789abcdefABCDEF");
    if (n == 0 || n > 16) {
        return fail_read(r, "a word in hex", err);
    }
    *word = strtoull(r->at, NULL, 16);
    if (word_bits < 64 && *word >> word_bits != 0) {
        return qn_fail(err, QN_EFORMAT, r->where, "line %d: %.*s has more than %d bits", r->line, (int)n, r->at,
                       word_bits);
    }
    r->at += n;
    return QN_OK;
}

qn_status qn_mem_parse(uint64_t *words, qn_mem_format format, int word_bits, int64_t n_words, const char *text,
                       const char *where, qn_error *err)
{
    reader r = {.at = text, .comment = qn_mem_formats[format].comment, .where = where, .line = 1};
    char expected[64];
    if (format == QN_MEM_COE) {
        QN_TRY(read_text(&r, "memory_initialization_radix=16;", err));
        QN_TRY(read_text(&r, "memory_initialization_vector=", err));
    } else if (format == QN_MEM_MIF) {
        snprintf(expected, sizeof expected, "WIDTH=%d;", word_bits);
        QN_TRY(read_text(&r, expected, err));
        snprintf(expected, sizeof expected, "DEPTH=%" PRId64 ";", n_words);
        QN_TRY(read_text(&r, expected, err));
        QN_TRY(read_text(&r, "ADDRESS_RADIX=UNS;", err));
        QN_TRY(read_text(&r, "DATA_RADIX=HEX;", err));
        QN_TRY(read_text(&r, "CONTENT BEGIN", err));
    }
    for (int64_t i = 0; i < n_words; i++) {
        if (format == QN_MEM_MIF) {
            QN_TRY(read_address(&r, i, err));
        }
        QN_TRY(read_hex(&r, &words[i], word_bits, err));
        if (format != QN_MEM_READMEMH) {
            QN_TRY(read_mark(&r, format == QN_MEM_MIF || i + 1 == n_words ? ";" : ",", err));
        }
    }
    if (format == QN_MEM_MIF) {
        QN_TRY(read_text(&r, "END;", err));
    }
    skip(&r);
    return *r.at == '\0' ? QN_OK : fail_read(&r, "the end", err);
}
