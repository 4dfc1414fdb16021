/* The fixed files of a C export, as bytes in the library (runtime.S). */
#ifndef QN_EXPORT_C_RUNTIME_H
#define QN_EXPORT_C_RUNTIME_H

/* X(symbol, file) */
#define QN_C_RUNTIME_LIST(X)                                                                                           \
    X(qn_c_quern_ops_h, "quern_ops.h")                                                                                 \
    X(qn_c_quern_inline_h, "quern_inline.h")                                                                           \
    X(qn_c_quern_dot_h, "quern_dot.h")                                                                                 \
    X(qn_c_quern_requantize_c, "quern_requantize.c")                                                                   \
    X(qn_c_quern_conv_c, "quern_conv.c")                                                                               \
    X(qn_c_quern_packed_c, "quern_packed.c")                                                                           \
    X(qn_c_quern_saturating_c, "quern_saturating.c")                                                                   \
    X(qn_c_quern_maps_c, "quern_maps.c")                                                                               \
    X(qn_c_quern_rows_c, "quern_rows.c")                                                                               \
    X(qn_c_quern_float_h, "quern_float.h")                                                                             \
    X(qn_c_quern_float_c, "quern_float.c")                                                                             \
    X(qn_c_quern_soft_c, "quern_soft.c")                                                                               \
    X(qn_c_test_main_c, "test_main.c")                                                                                 \
    X(qn_c_makefile, "Makefile")                                                                                       \
    X(qn_c_readme, "README.txt")

#define QN_C_RUNTIME_DECLARE(symbol, file) extern const char symbol##_begin[], symbol##_end[];
QN_C_RUNTIME_LIST(QN_C_RUNTIME_DECLARE)

#endif
