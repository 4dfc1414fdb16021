/* Names of formats: what they mean, that they round-trip, and what is said about wrong ones. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "quern/codes.h"
#include "quern/format.h"

static void canonical_names_round_trip(void **state)
{
    (void)state;
    static const char *const names[] = {
        "int8",
        "uint8",
        "int1",
        "int16",
        "int32",
        "int8:narrow",
        "int8:symmetric",
        "int8:po2",
        "int4:qkeras-auto",
        "int8:narrow:po2",
        "uint8:positive",
        "uint8:affine",
        "int8:symmetric-full",
        "int8:lltfi",
        "int8:stochastic",
        "int8:po2:toward-zero",
        "ap_fixed<16,6>",
        "ap_fixed<8,20>",
        "ap_fixed<8,-2,RND>",
        "ap_ufixed<8,0,RND_CONV,SAT>",
        "ap_fixed<8,4,TRN,SAT_ZERO>",
        "ap_fixed<32,256,RND_MIN_INF,SAT_SYM>",
        "ap_fixed<8,4>:stochastic",
        "ap_fixed<8,4,TRN,SAT>:stochastic",
        "fp16",
        "bf16",
        "fp8e4m3",
        "fp8e5m2",
        "fp6e3m2",
        "fp6e2m3",
        "fp4e2m1",
        "fp16:inf",
        "fp16:inf:floor",
        "float<4,3,fnuz>",
        "float<3,4,ieee>",
        "float<3,4,ieee,5>",
        "float<10,5,finite>",
        "adaptivfloat<8,3>",
        "adaptivfloat<4,2>:nearest-away",
        "bfp<8,16>",
        "mx<fp8e4m3>",
        "mx<int8>",
        "mx<fp4e2m1,16>",
        "posit<8,1>",
        "posit<16,3>",
        "po2<4>",
        "po2<4,nozero>",
        "po2<8,log>",
        "ternary",
        "binary",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        qn_format f;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_format_parse(&f, names[i], &err), &err);
        char printed[QN_FORMAT_NAME_MAX];
        qn_format_name(printed, f);
        assert_string_equal(printed, names[i]);
        qn_assert_ok(qn_format_check(f, NULL, &err), &err);
    }
}

static void other_spellings_mean_the_same(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"int<8>", "int8"},
        {"uint< 8 >", "uint8"},
        {"fixed<8,4>", "ap_fixed<8,4>"},
        {"ufixed<8,4>", "ap_ufixed<8,4>"},
        {"ap_fixed<16,6,AP_RND_CONV,AP_SAT,0>", "ap_fixed<16,6,RND_CONV,SAT>"},
        {"ap_fixed<16,6,TRN,WRAP>", "ap_fixed<16,6>"},
        {"float<5,10,ieee>", "fp16"},
        {"float<5,10>", "fp16"},
        {"float<4,3,fn,7>", "fp8e4m3"},
        {"posit<8>", "posit<8,2>"},
        {"mx<fp8e4m3,32>", "mx<fp8e4m3>"},
        {"po2<4>:nozero", "po2<4,nozero>"},
        {"po2<4,nozero,log>", "po2<4,log>"},
        {"int8:nearest-even", "int8"},
        {"int8:symmetric:narrow", "int8:symmetric"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        qn_format f;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_format_parse(&f, pairs[i][0], &err), &err);
        char printed[QN_FORMAT_NAME_MAX];
        qn_format_name(printed, f);
        assert_string_equal(printed, pairs[i][1]);
    }
}

static void wrong_names_are_explained(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"adaptivfloat<8,9>", "exponent bits e is 9, legal is 1 to 7; the nearest is adaptivfloat<8,7>"},
        {"adaptivfloat<17,3>", "bits n is 17, legal is 2 to 16; the nearest is adaptivfloat<16,3>"},
        {"int<0>", "bits is 0, legal is 1 to 16; the nearest is int1"},
        {"int17", "bits is 17, legal is 1 to 16; the nearest is int16"},
        {"uint32", "legal is 1 to 16"},
        {"int8x", "there is no format 'int8x'"},
        {"fixed<8,4,ROUND>", "'ROUND' is no quantization mode (Q); the nearest is 'RND'"},
        {"fixed<8,4,RND,SATURATE>", "'SATURATE' is no overflow mode (O); the nearest is 'SAT'"},
        {"ap_fixed<8,4,TRN,WRAP_SM>", "WRAP_SM (sign-magnitude wrap) is not offered"},
        {"ap_fixed<8,4,TRN,WRAP,2>", "N = 2 saturation bits"},
        {"ap_fixed<33,4>", "width W is 33, legal is 1 to 32; the nearest is ap_fixed<32,4>"},
        {"adaptivefloat<8,3>", "the nearest is 'adaptivfloat'"},
        {"fp8e4m4", "the nearest is 'fp8e4m3'"},
        {"psoit<8,1>", "the nearest is 'posit'"},
        {"posit<8,4>", "exponent bits es is 4, legal is 0 to 3"},
        {"int8:symetric", "'symetric' is no rounding or fit of this format; the nearest is 'symmetric'"},
        {"fp16<3>", "fp16 takes no arguments"},
        {"float<4,12,fn>", "mantissa bits m is 12, legal is 0 to 11"},
        {"float<4,3,xn>", "'xn' is no variant; the nearest is 'fn'"},
        {"fp8e4m3:inf", "only the ieee variant has infinities"},
        {"mx<fp8e4m2>", "the nearest is 'fp8e4m3'"},
        {"mx<fp9>", "the nearest is 'fp8e4m3'"},
        {"bfloat16", "the nearest is 'bf16'"},
        {"bfp<8>", "1 arguments; write bfp<m,block>"},
        {"bfp<8,0>", "block is 0, legal is 1 to"},
        {"bfp<8,x>", "argument 2 (block) is 'x'"},
        {"int8:po2:affine", "two fits, 'po2' and 'affine'"},
        {"int8:po2:po2", "'po2' stands there twice"},
        {"uint8:symmetric", "can be narrow"},
        {"int8:positive", "for unsigned integers"},
        {"ternary:po2", "nothing may follow a colon"},
        {"adaptivfloat<8,3", "'<' without '>'"},
        {"adaptivfloat<8,3>x", "'x' after the '>'"},
        {"", "empty part"},
        {"int8:", "empty part"},
        {"int<>", "empty part"},
        {"int<99999999999999999999>", "not an integer in reach"},
        {"int8:qkeras-auto:floor", "contradict"},
        {"posit<1,2,3,4,5,6,7,8>", "more than 6 arguments"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_format f = {.bits = -1};
        qn_error err;
        qn_error_init(&err);
        qn_assert_fails(qn_format_parse(&f, rows[i][0], &err), &err, QN_EINVAL, rows[i][1]);
        assert_int_equal(f.bits, -1);
    }
}

/* Any bytes at all are a name or an error. */
static void noise_is_refused_cleanly(void **state)
{
    (void)state;
    static const char alphabet[] = "<>:,0123456789-intfloaxpbfs ";
    uint64_t seed = 5;
    for (int i = 0; i < 20000; i++) {
        char text[200];
        size_t n = qn_test_random(&seed) % (sizeof text - 1);
        for (size_t k = 0; k < n; k++) {
            text[k] = alphabet[qn_test_random(&seed) % (sizeof alphabet - 1)];
        }
        text[n] = '\0';
        qn_format f, again;
        if (qn_format_parse(&f, text, NULL) == QN_OK) {
            char name[QN_FORMAT_NAME_MAX];
            qn_format_name(name, f);
            assert_int_equal(qn_format_parse(&again, name, NULL), QN_OK);
            assert_true(qn_format_equal(f, again));
        }
    }
}

static void fields_cover_the_code(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t code;
        const char *fields; /* name first_bit n_bits; ... */
    } rows[] = {
        {"int8", 0, "sign 7 1 integer 0 7 "},
        {"uint4", 0, "integer 0 4 "},
        {"int1", 0, "sign 0 1 "},
        {"ap_fixed<16,6>", 0, "sign 15 1 integer 10 5 fraction 0 10 "},
        {"ap_ufixed<8,-2>", 0, "fraction 0 8 "},
        {"ap_fixed<8,20>", 0, "sign 7 1 integer 0 7 "},
        {"fp16", 0, "sign 15 1 exponent 10 5 mantissa 0 10 "},
        {"adaptivfloat<4,3>", 0, "sign 3 1 exponent 0 3 "},
        {"bfp<8,16>", 0, "sign 7 1 mantissa 0 7 "},
        {"mx<int8>", 0, "sign 7 1 integer 6 1 fraction 0 6 "},
        {"posit<8,2>", 0x40, "sign 7 1 regime 5 2 exponent 3 2 mantissa 0 3 "},
        {"posit<8,2>", 0x7D, "sign 7 1 regime 1 6 exponent 0 1 "},
        {"posit<8,2>", 0x7F, "sign 7 1 regime 0 7 "},
        {"posit<8,2>", 0xC0, "sign 7 1 regime 5 2 exponent 3 2 mantissa 0 3 "},
        {"posit<8,2>", 0x80, "sign 7 1 regime 0 7 "},
        {"po2<4>", 0, "sign 3 1 exponent 0 3 "},
        {"ternary", 0, "sign 1 1 magnitude 0 1 "},
        {"binary", 0, "sign 0 1 "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_format f;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_format_parse(&f, rows[i].name, &err), &err);
        qn_field fields[QN_FIELDS_MAX];
        int n = qn_format_fields(fields, f, rows[i].code), covered = 0;
        char text[128] = "";
        for (int k = 0; k < n; k++) {
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s %d %d ", fields[k].name, fields[k].first_bit,
                     fields[k].n_bits);
            covered += fields[k].n_bits;
        }
        assert_int_equal(covered, f.bits);
        assert_string_equal(text, rows[i].fields);
    }
}

static void examples_of_the_registry_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < qn_format_count(); i++) {
        qn_format_description about = qn_format_describe(i);
        char examples[256];
        snprintf(examples, sizeof examples, "%s", about.examples);
        for (char *name = strtok(examples, " "); name != NULL; name = strtok(NULL, " ")) {
            qn_format f;
            qn_error err;
            qn_error_init(&err);
            qn_assert_ok(qn_format_parse(&f, name, &err), &err);
            assert_int_equal(f.kind, about.kind);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_names_round_trip), cmocka_unit_test(other_spellings_mean_the_same),
        cmocka_unit_test(wrong_names_are_explained),  cmocka_unit_test(noise_is_refused_cleanly),
        cmocka_unit_test(fields_cover_the_code),      cmocka_unit_test(examples_of_the_registry_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
