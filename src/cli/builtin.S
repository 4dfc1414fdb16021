/* The built-in model and data of examples/digits, as bytes between _begin and _end. */
    .section .rodata
    .macro builtin name file
    .balign 64
    .global \name\()_begin
    .global \name\()_end
\name\()_begin:
    .incbin "\file"
\name\()_end:
    .byte 0
    .endm
    builtin cli_digits_model "digits.onnx"
    builtin cli_digits_calib "calib_x_u8.npy"
    builtin cli_digits_test "test_x_u8.npy"
    builtin cli_digits_labels "test_y_u8.npy"
    .section .note.GNU-stack, "", @progbits
