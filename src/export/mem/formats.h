/* The three ways memory images are written, and read again. */
#ifndef QN_EXPORT_MEM_FORMATS_H
#define QN_EXPORT_MEM_FORMATS_H

#include "export/target.h"

/*  suffix   of the file
 *  comment  what starts a line of comment
 *  whose    who reads it */
typedef enum qn_mem_format { QN_MEM_READMEMH, QN_MEM_COE, QN_MEM_MIF, QN_N_MEM_FORMATS } qn_mem_format;
typedef struct qn_mem_format_info {
    const char *suffix, *comment, *whose;
} qn_mem_format_info;
extern const qn_mem_format_info qn_mem_formats[QN_N_MEM_FORMATS];

/* What stands before the words, between comments and them, and after. */
void qn_mem_begin(qn_export_text *text, qn_mem_format format, int word_bits, int64_t n_words);
void qn_mem_word(qn_export_text *text, qn_mem_format format, int word_bits, int64_t n_words, int64_t i, uint64_t word);
void qn_mem_end(qn_export_text *text, qn_mem_format format);

/* The words of a file's text, n_words of them, each of at most word_bits: QN_EFORMAT with the line where it is
 * something else. `text` ends with a 0 byte. */
qn_status qn_mem_parse(uint64_t *words, qn_mem_format format, int word_bits, int64_t n_words, const char *text,
                       const char *where, qn_error *err);

#endif
