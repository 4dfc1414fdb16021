/* The loops of elementwise.c for one instruction set. Included several times, each time with
 *  LANES(name)  the function's name with the set's suffix
 *  LANES_ISA    the attribute that selects the set
 * Operands are dense rows of n elements; c is the third, of Where. */

#define LANES_ROW(name, in, out, formula)                                                                              \
    LANES_ISA static void LANES(name)(void *restrict to, const void *left, const void *right, const void *third,       \
                                      int64_t n)                                                                       \
    {                                                                                                                  \
        out *y = to;                                                                                                   \
        const in *a = left, *b = right, *c = third;                                                                    \
        (void)a, (void)b, (void)c;                                                                                     \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                            \
        {                                                                                                              \
            y[i] = (out)(formula);                                                                                     \
        }                                                                                                              \
    }

#define LANES_COMPARISONS(t, type)                                                                                     \
    LANES_ROW(equal_##t, type, uint8_t, a[i] == b[i])                                                                  \
    LANES_ROW(greater_##t, type, uint8_t, a[i] > b[i])                                                                 \
    LANES_ROW(greater_equal_##t, type, uint8_t, a[i] >= b[i])                                                          \
    LANES_ROW(less_##t, type, uint8_t, a[i] < b[i])                                                                    \
    LANES_ROW(less_equal_##t, type, uint8_t, a[i] <= b[i])

/* Sums and products wrap: in `wide`, which is unsigned and no narrower than int. By zero everything divides to zero. */
#define LANES_INTEGERS(t, type, wide)                                                                                  \
    LANES_COMPARISONS(t, type)                                                                                         \
    LANES_ROW(add_##t, type, type, (wide)a[i] + (wide)b[i])                                                            \
    LANES_ROW(bit_and_##t, type, type, (wide)a[i] & (wide)b[i])                                                        \
    LANES_ROW(bit_not_##t, type, type, ~(wide)a[i])                                                                    \
    LANES_ROW(bit_or_##t, type, type, (wide)a[i] | (wide)b[i])                                                         \
    LANES_ROW(bit_xor_##t, type, type, (wide)a[i] ^ (wide)b[i])                                                        \
    LANES_ROW(relu_##t, type, type, a[i] > 0 ? a[i] : 0)                                                               \
    LANES_ROW(max_##t, type, type, a[i] > b[i] ? a[i] : b[i])                                                          \
    LANES_ROW(min_##t, type, type, a[i] < b[i] ? a[i] : b[i])                                                          \
    LANES_ROW(mul_##t, type, type, (wide)a[i] * (wide)b[i])                                                            \
    LANES_ROW(neg_##t, type, type, 0 - (wide)a[i])                                                                     \
    LANES_ROW(sub_##t, type, type, (wide)a[i] - (wide)b[i])

#define LANES_SIGNED(t, type, wide)                                                                                    \
    LANES_INTEGERS(t, type, wide)                                                                                      \
    LANES_ROW(abs_##t, type, type, a[i] < 0 ? 0 - (wide)a[i] : (wide)a[i])                                             \
    LANES_ROW(sign_##t, type, type, (a[i] > 0) - (a[i] < 0))                                                           \
    LANES_ROW(prelu_##t, type, type, a[i] < 0 ? (wide)a[i] * (wide)b[i] : (wide)a[i])                                  \
    LANES_ROW(fmod_##t, type, type, b[i] == 0 || b[i] == -1 ? 0 : a[i] % b[i])                                         \
    LANES_ROW(mod_##t, type, type,                                                                                     \
              b[i] == 0 || b[i] == -1                        ? 0                                                       \
              : a[i] % b[i] != 0 && (a[i] < 0) != (b[i] < 0) ? a[i] % b[i] + b[i]                                      \
                                                             : a[i] % b[i])                                            \
    LANES_ROW(div_##t, type, type, b[i] == 0 ? 0 : b[i] == -1 ? (type)(0 - (wide)a[i]) : a[i] / b[i])

#define LANES_UNSIGNED(t, type, wide)                                                                                  \
    LANES_INTEGERS(t, type, wide)                                                                                      \
    LANES_ROW(abs_##t, type, type, a[i])                                                                               \
    LANES_ROW(sign_##t, type, type, a[i] != 0)                                                                         \
    LANES_ROW(prelu_##t, type, type, a[i])                                                                             \
    LANES_ROW(mod_##t, type, type, b[i] == 0 ? 0 : a[i] % b[i])                                                        \
    LANES_ROW(shift_left_##t, type, type, b[i] < 8 * sizeof(type) ? (wide)a[i] << b[i] : 0)                            \
    LANES_ROW(shift_right_##t, type, type, b[i] < 8 * sizeof(type) ? (wide)a[i] >> b[i] : 0)                           \
    LANES_ROW(div_##t, type, type, b[i] == 0 ? 0 : a[i] / b[i])

LANES_SIGNED(s8, int8_t, uint32_t)
LANES_UNSIGNED(u8, uint8_t, uint32_t)
LANES_SIGNED(s16, int16_t, uint32_t)
LANES_UNSIGNED(u16, uint16_t, uint32_t)
LANES_SIGNED(s32, int32_t, uint32_t)
LANES_UNSIGNED(u32, uint32_t, uint32_t)
LANES_SIGNED(s64, int64_t, uint64_t)
LANES_UNSIGNED(u64, uint64_t, uint64_t)

LANES_COMPARISONS(f32, float)
LANES_ROW(add_f32, float, float, a[i] + b[i])
LANES_ROW(div_f32, float, float, a[i] / b[i])
LANES_ROW(max_f32, float, float, a[i] > b[i] || a[i] != a[i] ? a[i] : b[i])
LANES_ROW(min_f32, float, float, a[i] < b[i] || a[i] != a[i] ? a[i] : b[i])
LANES_ROW(mul_f32, float, float, a[i] * b[i])
LANES_ROW(fmod_f32, float, float, fmodf(a[i], b[i]))
LANES_ROW(infinite_f32, float, uint8_t, fabsf(a[i]) > 0x1.fffffep127f)
LANES_ROW(infinite_above_f32, float, uint8_t, a[i] > 0x1.fffffep127f)
LANES_ROW(infinite_below_f32, float, uint8_t, a[i] < -0x1.fffffep127f)
LANES_ROW(infinite_never_f32, float, uint8_t, 0)
LANES_ROW(not_a_number_f32, float, uint8_t, a[i] != a[i])
LANES_ROW(prelu_f32, float, float, a[i] < 0 ? a[i] * b[i] : a[i])
LANES_ROW(relu_f32, float, float, a[i] > 0 ? a[i] : 0)
LANES_ROW(sub_f32, float, float, a[i] - b[i])

LANES_ROW(and_u8, uint8_t, uint8_t, (a[i] != 0) & (b[i] != 0))
LANES_ROW(not_u8, uint8_t, uint8_t, a[i] == 0)
LANES_ROW(or_u8, uint8_t, uint8_t, (a[i] | b[i]) != 0)
LANES_ROW(xor_u8, uint8_t, uint8_t, (a[i] != 0) ^ (b[i] != 0))

/* The condition is bytes. */
#define LANES_WHERE(bytes, type)                                                                                       \
    LANES_ISA static void LANES(where_##bytes)(void *restrict to, const void *condition, const void *left,             \
                                               const void *right, int64_t n)                                           \
    {                                                                                                                  \
        type *y = to;                                                                                                  \
        const uint8_t *chosen = condition;                                                                             \
        const type *a = left, *b = right;                                                                              \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                            \
        {                                                                                                              \
            y[i] = chosen[i] != 0 ? a[i] : b[i];                                                                       \
        }                                                                                                              \
    }
LANES_WHERE(1, uint8_t)
LANES_WHERE(2, uint16_t)
LANES_WHERE(4, uint32_t)
LANES_WHERE(8, uint64_t)

#define LANES_COMPARED(t)                                                                                              \
    [EQUAL] = LANES(equal_##t), [GREATER] = LANES(greater_##t), [GREATER_EQUAL] = LANES(greater_equal_##t),            \
    [LESS] = LANES(less_##t), [LESS_EQUAL] = LANES(less_equal_##t)
#define LANES_COLUMN(t)                                                                                                \
    LANES_COMPARED(t), [ABSOLUTE] = LANES(abs_##t), [ADD] = LANES(add_##t), [DIV] = LANES(div_##t),                    \
                       [MAX] = LANES(max_##t), [MIN] = LANES(min_##t), [MUL] = LANES(mul_##t), [NEG] = LANES(neg_##t), \
                       [SIGN] = LANES(sign_##t), [SUB] = LANES(sub_##t), [BIT_AND] = LANES(bit_and_##t),               \
                       [BIT_NOT] = LANES(bit_not_##t), [BIT_OR] = LANES(bit_or_##t), [BIT_XOR] = LANES(bit_xor_##t),   \
                       [MOD] = LANES(mod_##t), [PRELU] = LANES(prelu_##t), [RELU] = LANES(relu_##t)
#define LANES_SIGNED_COLUMN(t)                                                                                         \
    {                                                                                                                  \
        LANES_COLUMN(t), [FMOD] = LANES(fmod_##t)                                                                      \
    }
#define LANES_UNSIGNED_COLUMN(t)                                                                                       \
    {                                                                                                                  \
        LANES_COLUMN(t), [FMOD] = LANES(mod_##t), [SHIFT_LEFT] = LANES(shift_left_##t),                                \
                         [SHIFT_RIGHT] = LANES(shift_right_##t)                                                        \
    }

static row_fn *const LANES(functions)[QN_DTYPE_BOOL + 1][N_KINDS] = {
    [QN_DTYPE_F32] =
        {LANES_COMPARED(f32), [ADD] = LANES(add_f32), [DIV] = LANES(div_f32), [MAX] = LANES(max_f32),
         [MIN] = LANES(min_f32), [MUL] = LANES(mul_f32), [PRELU] = LANES(prelu_f32), [RELU] = LANES(relu_f32),
         [FMOD] = LANES(fmod_f32), [INFINITE] = LANES(infinite_f32), [INFINITE_ABOVE] = LANES(infinite_above_f32),
         [INFINITE_BELOW] = LANES(infinite_below_f32), [INFINITE_NEVER] = LANES(infinite_never_f32),
         [NOT_A_NUMBER] = LANES(not_a_number_f32), [SUB] = LANES(sub_f32)},
    [QN_DTYPE_S8] = LANES_SIGNED_COLUMN(s8),
    [QN_DTYPE_U8] = LANES_UNSIGNED_COLUMN(u8),
    [QN_DTYPE_S16] = LANES_SIGNED_COLUMN(s16),
    [QN_DTYPE_U16] = LANES_UNSIGNED_COLUMN(u16),
    [QN_DTYPE_S32] = LANES_SIGNED_COLUMN(s32),
    [QN_DTYPE_U32] = LANES_UNSIGNED_COLUMN(u32),
    [QN_DTYPE_S64] = LANES_SIGNED_COLUMN(s64),
    [QN_DTYPE_U64] = LANES_UNSIGNED_COLUMN(u64),
    [QN_DTYPE_BOOL] = {[AND] = LANES(and_u8),
                       [EQUAL] = LANES(equal_u8),
                       [NOT] = LANES(not_u8),
                       [OR] = LANES(or_u8),
                       [XOR] = LANES(xor_u8)},
};
/* By the bytes of an element. */
static row_fn *const LANES(choices)[9] = {
    [1] = LANES(where_1), [2] = LANES(where_2), [4] = LANES(where_4), [8] = LANES(where_8)};

#undef LANES_ROW
#undef LANES_COMPARISONS
#undef LANES_INTEGERS
#undef LANES_SIGNED
#undef LANES_UNSIGNED
#undef LANES_WHERE
#undef LANES_COMPARED
#undef LANES_COLUMN
#undef LANES_SIGNED_COLUMN
#undef LANES_UNSIGNED_COLUMN
