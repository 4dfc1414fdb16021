/* Specifications of faults: what is read, that its text reads as the same, and every refusal with its line and what to do. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/spec.h"

static qn_error err;

static qn_fault_spec read_spec(const char *yaml)
{
    qn_fault_spec spec;
    qn_error_init(&err);
    qn_assert_ok(qn_fault_spec_parse(&spec, yaml, "faults.yaml", &err), &err);
    return spec;
}

static void assert_ranges(const qn_fault_ranges *a, const qn_fault_range *b, int n)
{
    assert_int_equal(a->n, n);
    for (int i = 0; i < n; i++) {
        assert_int_equal(a->list[i].first, b[i].first);
        assert_int_equal(a->list[i].last, b[i].last);
    }
}

static void assert_names(const qn_fault_names *a, const qn_fault_names *b)
{
    assert_int_equal(a->n, b->n);
    for (int i = 0; i < a->n; i++) {
        assert_string_equal(a->list[i], b->list[i]);
    }
}

static void assert_same_set(const qn_fault_set *a, const qn_fault_set *b)
{
    const qn_fault_selector *s = &a->select, *t = &b->select;
    assert_string_equal(a->name, b->name);
    assert_int_equal(s->where, t->where);
    assert_names(&s->layers, &t->layers);
    assert_names(&s->values, &t->values);
    assert_names(&s->ops, &t->ops);
    assert_names(&s->fields, &t->fields);
    assert_ranges(&s->channels, t->channels.list, t->channels.n);
    assert_ranges(&s->rows, t->rows.list, t->rows.n);
    assert_ranges(&s->columns, t->columns.list, t->columns.n);
    assert_ranges(&s->elements, t->elements.list, t->elements.n);
    assert_ranges(&s->terms, t->terms.list, t->terms.n);
    assert_ranges(&s->bits, t->bits.list, t->bits.n);
    assert_int_equal(a->model, b->model);
    assert_int_equal(a->n_bits, b->n_bits);
    assert_int_equal(a->burst, b->burst);
    assert_int_equal(a->suppress_invalid, b->suppress_invalid);
    assert_int_equal(a->n_turns, b->n_turns);
    assert_true(a->n_turns == 0 || memcmp(a->turns, b->turns, (size_t)a->n_turns) == 0);
    assert_true(a->value == b->value && a->lo == b->lo && a->hi == b->hi && a->mean == b->mean && a->std == b->std);
    assert_int_equal(a->pattern, b->pattern);
    assert_int_equal(a->array.rows, b->array.rows);
    assert_int_equal(a->array.columns, b->array.columns);
    assert_int_equal(a->array.output_stationary, b->array.output_stationary);
    assert_int_equal(a->array.part, b->array.part);
    assert_int_equal(a->count, b->count);
    assert_true(a->rate == b->rate);
    assert_int_equal(a->word_bits, b->word_bits);
    assert_int_equal(a->per_item, b->per_item);
    assert_int_equal(a->lifetime, b->lifetime);
    assert_int_equal(a->sample.how, b->sample.how);
    assert_int_equal(a->sample.n, b->sample.n);
    assert_true(a->sample.margin == b->sample.margin && a->sample.confidence == b->sample.confidence &&
                a->sample.p == b->sample.p);
    assert_int_equal(a->sample.by, b->sample.by);
}

/* The canonical text reads as the same specification, and is its own canonical text. Releases the spec. */
static void assert_survives(qn_fault_spec *spec)
{
    const char *text, *again_text;
    qn_fault_spec again;
    qn_error_init(&err);
    qn_assert_ok(qn_fault_spec_text(spec, &text, &err), &err);
    qn_assert_ok(qn_fault_spec_parse(&again, text, "text", &err), &err);
    assert_string_equal(spec->model_sha256, again.model_sha256);
    assert_int_equal(spec->seed, again.seed);
    assert_int_equal(spec->has_seed, again.has_seed);
    assert_true(spec->verify == again.verify && spec->rmse_threshold == again.rmse_threshold);
    assert_int_equal(spec->n_sets, again.n_sets);
    for (int i = 0; i < spec->n_sets; i++) {
        assert_same_set(&spec->sets[i], &again.sets[i]);
    }
    qn_assert_ok(qn_fault_spec_text(&again, &again_text, &err), &err);
    assert_string_equal(text, again_text);
    qn_fault_spec_free(&again);
    qn_fault_spec_free(spec);
}

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void every_key_is_read(void **state)
{
    (void)state;
    qn_fault_spec spec = read_spec("model: " HASH "\nseed: 18446744073709551615\nverify: 1%\nrmse-threshold: 0.25\n"
                                   "prove: margin\n"
                                   "faults:\n"
                                   "  - name: weight bits\n"
                                   "    where: [weights, biases]\n"
                                   "    layers: ['conv*', \"fc\\u2028\"]\n"
                                   "    values: w*\n"
                                   "    ops: [Conv]\n"
                                   "    channels: 8-15,0,3,1-2\n"
                                   "    rows: [0, 2-3]\n"
                                   "    columns: 1\n"
                                   "    elements: 0-9223372036854775807\n"
                                   "    bits: [0, 7, sign]\n"
                                   "    fields: exponent\n"
                                   "    model: flip\n    n-bits: 2\n    burst: true\n"
                                   "    pattern: channel\n    lifetime: 12\n"
                                   "    sample: margin 0.1% confidence 99% p 0.25 per layer, bit\n");
    const qn_fault_set *set = &spec.sets[0];
    const qn_fault_selector *select = &set->select;
    assert_string_equal(spec.model_sha256, HASH);
    assert_true(spec.has_seed && spec.seed == UINT64_MAX && spec.verify == 0.01 && spec.rmse_threshold == 0.25);
    assert_int_equal(spec.prove, QN_PROVE_MARGIN);
    assert_int_equal(spec.n_sets, 1);
    assert_int_equal(set->line, 7);
    assert_string_equal(set->name, "weight bits");
    assert_int_equal(select->where, 1u << QN_FAULT_WEIGHTS | 1u << QN_FAULT_BIASES);
    assert_int_equal(select->layers.n, 2);
    assert_string_equal(select->layers.list[0], "conv*");
    assert_string_equal(select->layers.list[1], "fc\xe2\x80\xa8");
    assert_string_equal(select->values.list[0], "w*");
    assert_string_equal(select->ops.list[0], "Conv");
    assert_ranges(&select->channels, (const qn_fault_range[]){{0, 3}, {8, 15}}, 2);
    assert_ranges(&select->rows, (const qn_fault_range[]){{0, 0}, {2, 3}}, 2);
    assert_ranges(&select->columns, (const qn_fault_range[]){{1, 1}}, 1);
    assert_ranges(&select->elements, (const qn_fault_range[]){{0, INT64_MAX}}, 1);
    assert_ranges(&select->bits, (const qn_fault_range[]){{0, 0}, {7, 7}}, 2);
    assert_int_equal(select->fields.n, 2);
    assert_string_equal(select->fields.list[0], "sign");
    assert_string_equal(select->fields.list[1], "exponent");
    assert_int_equal(set->model, QN_FAULT_FLIP);
    assert_int_equal(set->n_bits, 2);
    assert_true(set->burst && !set->suppress_invalid);
    assert_int_equal(set->pattern, QN_FAULT_CHANNEL);
    assert_int_equal(set->lifetime, 12);
    assert_int_equal(set->sample.how, QN_FAULT_MARGIN);
    assert_true(set->sample.margin == 0.001 && set->sample.confidence == 0.99 && set->sample.p == 0.25);
    assert_int_equal(set->sample.by, 1u << QN_FAULT_BY_LAYER | 1u << QN_FAULT_BY_BIT);
    assert_survives(&spec);
}

/* One key of a set of weights (or what the text says), the rest as by default. */
static qn_fault_spec with(const char *keys)
{
    char yaml[1000];
    snprintf(yaml, sizeof yaml, "faults:\n  - where: weights\n%s", keys);
    return read_spec(yaml);
}

static void what_is_left_out_has_defaults(void **state)
{
    (void)state;
    qn_fault_spec spec = with("    bits: all\n");
    const qn_fault_set *set = &spec.sets[0];
    assert_string_equal(set->name, "faults 1");
    assert_int_equal(set->select.layers.n + set->select.bits.n + set->select.channels.n, 0);
    assert_int_equal(set->model, QN_FAULT_FLIP);
    assert_int_equal(set->n_bits, 1);
    assert_int_equal(set->pattern, QN_FAULT_SINGLE);
    assert_int_equal(set->lifetime, -1);
    assert_int_equal(set->sample.how, QN_FAULT_MARGIN);
    assert_true(set->sample.margin == 0.01 && set->sample.confidence == 0.99 && set->sample.p == 0.5);
    assert_false(spec.has_seed);
    assert_survives(&spec);
}

static void everything_can_be_hit(void **state)
{
    (void)state;
    qn_fault_spec spec = read_spec("faults: [{where: all}]\n");
    assert_int_equal(spec.sets[0].select.where, QN_FAULT_NETWORK_PLACES);
    assert_survives(&spec);
}

static void fault_models_have_two_spellings(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"    model: normal-noise\n    mean: -1.5\n    std: 0.1\n",
         "    model: {normal-noise: {mean: -1.5, std: 0.1}}\n"},
        {"    model: normal-noise mean -1.5 std 0.1\n", "    model: normal-noise\n    mean: -1.5\n    std: 1e-1\n"},
        {"    model: uniform-noise\n    lo: -1\n    hi: 2\n", "    model: uniform-noise lo -1 hi 2\n"},
        {"    model: uniform-value\n    lo: -1\n    hi: 2\n", "    model: uniform-value lo -1 hi 2\n"},
        {"    model: normal-value\n    mean: -1.5\n    std: 0.1\n",
         "    model: {normal-value: {mean: -1.5, std: 0.1}}\n"},
        {"    bits-in-turn: 6,3,6,0\n    pattern: all\n", "    pattern: all\n    bits-in-turn: [6, '3,6', 0]\n"},
        {"    suppress-invalid: true\n    bits: exponent\n",
         "    bits: exponent\n    model: {flip: {suppress-invalid: yes}}\n"},
        {"    model: set-value\n    value: 3.25\n", "    model: {set-value: {value: 3.25}}\n"},
        {"    model: stuck-at-1\n    n-bits: 3\n", "    model: stuck-at-1 n-bits 3\n"},
        {"    pattern: {array: {rows: 16, columns: 8, stationary: output, part: column}}\n",
         "    pattern: array 16x8 stationary output part column\n"},
        {"    pattern: {word: 32}\n    n-bits: 4\n", "    pattern: word 32\n    model: flip n-bits 4\n"},
        {"    pattern: {rate: 1e-6}\n    per: item\n", "    pattern: rate 0.0001%\n    per: item\n"},
        {"    pattern: {count: 10}\n", "    pattern: count 10\n    per: campaign\n"},
        {"    sample: {until: 1%, confidence: 95%, per: [layer, bit], max: 1e5}\n",
         "    sample: until 0.01 confidence 0.95 max 100000 per bit,layer\n"},
        {"    sample: {margin: 2.5%}\n", "    sample: margin 0.025 confidence 99% p 0.5\n"},
        {"    bits: sign, msb\n", "    fields: [sign, msb]\n"},
        {"    bits: 0-2, 3\n", "    bits: [3, 0, 1, 2, 1-2]\n"},
        {"    lifetime: transient\n", "    lifetime: 1\n"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        qn_fault_spec a = with(pairs[i][0]), b = with(pairs[i][1]);
        assert_same_set(&a.sets[0], &b.sets[0]);
        assert_survives(&a);
        assert_survives(&b);
    }
}

static void samples_are_read(void **state)
{
    (void)state;
    qn_fault_sample s;
    qn_error_init(&err);
    qn_assert_ok(qn_fault_sample_parse(&s, "all", &err), &err);
    assert_int_equal(s.how, QN_FAULT_EXHAUSTIVE);
    qn_assert_ok(qn_fault_sample_parse(&s, "1000", &err), &err);
    assert_true(s.how == QN_FAULT_N && s.n == 1000 && s.by == 0);
    qn_assert_ok(qn_fault_sample_parse(&s, "1000 per layer,bit,where,channel", &err), &err);
    assert_int_equal(s.by, 15);
    qn_assert_ok(qn_fault_sample_parse(&s, "margin 1% confidence 99%", &err), &err);
    assert_true(s.how == QN_FAULT_MARGIN && s.margin == 0.01 && s.confidence == 0.99 && s.p == 0.5);
    qn_assert_ok(qn_fault_sample_parse(&s, "until 0.02 confidence 0.9 max 500", &err), &err);
    assert_true(s.how == QN_FAULT_UNTIL && s.margin == 0.02 && s.confidence == 0.9 && s.n == 500);
}

static void sample_refused(const char *text, const char *message)
{
    qn_fault_sample s;
    qn_error_init(&err);
    qn_assert_fails(qn_fault_sample_parse(&s, text, &err), &err, QN_EINVAL, message);
}

static void samples_are_checked(void **state)
{
    (void)state;
    sample_refused("", "is empty");
    sample_refused("some", "is no sample; samples are: all; 1000;");
    sample_refused("0", "is no sample");
    sample_refused("-5", "is no sample");
    sample_refused("1.5", "is no sample");
    sample_refused("99999999999999999999", "is no sample");
    sample_refused("margin", "no margin between 0 and 50%");
    sample_refused("margin 0", "no margin between 0 and 50%");
    sample_refused("margin 60%", "no margin between 0 and 50%");
    sample_refused("margin nan", "no margin between 0 and 50%");
    sample_refused("margin 1% confidence 100%", "no confidence between 0 and 100%");
    sample_refused("margin 1% confidence", "no confidence between");
    sample_refused("margin 1% p 1", "no p between 0 and 1");
    sample_refused("margin 1% max 5", "has 'max' where it means nothing");
    sample_refused("until 1% p 0.5", "has 'p' where it means nothing");
    sample_refused("until 1% max 0", "no number of at least 1 after max");
    sample_refused("1000 per", "ends where strata are wanted");
    sample_refused("1000 per layer,", "ends where strata are wanted");
    sample_refused("1000 per colour", "'colour' is none of where, layer, bit and channel");
    sample_refused("1000 confidence 99%", "has 'confidence' where it means nothing");
    sample_refused("1000 per layer ,bit", "has ',bit' where it means nothing");
    sample_refused("all of them", "has 'of' where it means nothing");
}

static void refused(const char *yaml, const char *message)
{
    qn_fault_spec spec;
    qn_error_init(&err);
    qn_assert_fails(qn_fault_spec_parse(&spec, yaml, "faults.yaml", &err), &err, QN_EFORMAT, message);
    assert_string_equal(err.where, "faults.yaml");
    assert_int_equal(spec.n_sets, 0); /* nothing half read */
    qn_fault_spec_free(&spec);
}

static void the_document_is_checked(void **state)
{
    (void)state;
    refused("", "is no specification of faults: it is empty; write 'faults:'");
    refused("# nothing\n", "it is empty");
    refused("weights", "is no specification of faults: a single value");
    refused("- where: weights\n", "is no specification of faults: a list");
    refused("seed: 1\n", "holds no fault sets");
    refused("faults: []\n", "holds no fault sets");
    refused("faults: weights\n", "line 1, faults: a single value, where a list of fault sets is wanted");
    refused("faults:\n  - weights\n", "line 2: a single value, where a fault set is wanted");
    refused("faults:\n  - {where: weights\n", "is no YAML: line 3: ");
    refused("faults:\n  - where: weights\n    layers: *\n", "globs that begin with * stand in quotes");
    refused("faults:\n  - where: \xff\n", "is no YAML: byte");
    refused("faults:\n  - where: weights\n---\nfaults: []\n", "line 4: a second document");
    refused("faults:\n  - where: weights\nsed: 1\n", "line 3: unknown key 'sed'; did you mean 'seed'?");
    refused("faults:\n  - where: weights\nxyzzyplugh: 1\n", "? There are model, seed, verify, "
                                                            "rmse-threshold, prove, links and faults");
    refused("seed: 1\nseed: 2\n", "line 2, seed: is given twice");
    refused("seed: -1\n", "line 1, seed: '-1' is not a number from 0");
    refused("seed: 18446744073709551616\n", "is not a number from 0");
    refused("seed: [1]\n", "line 1, seed: a list, where a single value is wanted");
    refused("[seed]: 1\n", "line 1: a list, where the name of a key is wanted");
    refused("model: resnet8.onnx\n", "line 1, model: 'resnet8.onnx' is not the SHA-256 of a model");
    refused("verify: 101%\n", "line 1, verify: '101%' is not a share from 0 to 100%");
    refused("verify: often\n", "'often' is not a share");
    refused("prove: luck\n", "line 1, prove: 'luck' is not a way to prove outcomes; there are margin, margin-everywhere and none");
    refused("rmse-threshold: -1\n", "line 1, rmse-threshold: '-1' is not a number from 0 on");
}

/* A fault set's line 3 and on, behind "where: weights". */
static void set_refused(const char *keys, const char *message)
{
    char yaml[1000];
    snprintf(yaml, sizeof yaml, "faults:\n  - where: weights\n%s", keys);
    refused(yaml, message);
}

static void the_keys_of_fault_sets_are_checked(void **state)
{
    (void)state;
    refused("faults:\n  - layers: x\n", "line 2: where is missing: what is to be hit");
    refused("faults:\n  - where: wieghts\n", "line 2, where: unknown place 'wieghts'; did you mean 'weights'?");
    refused("faults:\n  - where: xyzzy\n", "? There are weights, biases, activations, inputs");
    refused("faults:\n  - where:\n", "line 2, where: has no value");
    refused("faults:\n  - where: []\n", "line 2, where: an empty list");
    refused("faults:\n  - where: {weights: all}\n", "line 2, where: a mapping, where a single value or a list");
    set_refused("    layer: conv\n", "line 3: unknown key 'layer' of a fault set; did you mean 'layers'?");
    set_refused("    xyzzyplugh: 1\n", "line 3: unknown key 'xyzzyplugh' of a fault set; did you mean");
    set_refused("    where: biases\n", "line 3, where: where is given twice");
    set_refused("    layers: [[a]]\n", "line 3, layers: a list, where a single value in the list is wanted");
    set_refused("    layers: \"a\\nb\"\n", "line 3, layers: holds control characters");
    set_refused("    layers: \"a\\0b\"\n", "holds control characters");
    set_refused("    layers: ''\n", "line 3, layers: has no value");
    set_refused("    name: [a, b]\n", "line 3, name: a list, where one value is wanted");
    set_refused("    channels: -3\n", "line 3, channels: '-3' is no index from 0 on");
    set_refused("    channels: 7-3\n", "'7-3' is no index from 0 on and no range such as 8-15");
    set_refused("    channels: 0,,3\n", "'' is no index");
    set_refused("    rows: one\n", "line 3, rows: 'one' is no index");
    set_refused("    elements: 99999999999999999999\n", "is no index");
    set_refused("    bits: 32\n", "line 3, bits: bit 32: codes have at most 32 bits, 0 to 31");
    set_refused("    bits: 0-40\n", "bit 40");
    set_refused("    bits: all,3\n", "'all' stands alone");
    set_refused("    bits: sing\n", "line 3, bits: unknown field of bits 'sing'; did you mean 'sign'?");
    set_refused("    fields: 3\n", "unknown field of bits '3'");
    set_refused("    model: flop\n", "line 3, model: unknown fault model 'flop'; did you mean 'flip'?");
    set_refused("    model: flip n-bits\n", "no value follows 'n-bits'");
    set_refused("    model: flip nbits 2\n", "unknown key of a fault model 'nbits'; did you mean 'n-bits'?");
    set_refused("    model: flip n-bits 2\n    n-bits: 2\n", "line 4, n-bits: n-bits is given twice");
    set_refused("    n-bits: 0\n", "line 3, n-bits: '0' is not a number of bits from 1 on");
    set_refused("    burst: maybe\n", "line 3, burst: 'maybe' is neither true nor false");
    set_refused("    bits-in-turn: 3,32\n    pattern: all\n", "line 3, bits-in-turn: '32' is no bit");
    set_refused("    bits-in-turn: sign\n    pattern: all\n", "bits-in-turn: 'sign' is no bit");
    set_refused("    bits-in-turn: 3\n", "bits-in-turn belongs to models flip and stuck-at and patterns channel");
    set_refused("    bits-in-turn: 3\n    model: set-zero\n    pattern: all\n", "bits-in-turn belongs to models flip");
    set_refused("    bits-in-turn: 3\n    bits: 2\n    pattern: all\n", "leave bits, fields and n-bits out");
    set_refused("    bits-in-turn: 3\n    n-bits: 2\n    pattern: all\n", "leave bits, fields and n-bits out");
    set_refused("    suppress-invalid: 2\n", "line 3, suppress-invalid: '2' is neither true nor false");
    set_refused("    model: set-value\n    value: inf\n", "line 4, value: 'inf' is no finite number");
    set_refused("    pattern: sigle\n", "unknown pattern 'sigle'; did you mean 'single'?");
    set_refused("    pattern: single 3\n", "'3' after 'single 3' means nothing");
    set_refused("    pattern: word\n", "a number follows 'word'");
    set_refused("    pattern: word 0\n", "word '0' is not a number of bits from 1 to 1048576");
    set_refused("    pattern: {rate: 1.5}\n", "line 3, pattern: rate '1.5' is no probability, from 0 to 1");
    set_refused("    pattern: rate -0.1\n", "is no probability");
    set_refused("    pattern: count 0\n", "count '0' is not a number of elements from 1 on");
    set_refused("    pattern: array\n", "an array needs rows and columns");
    set_refused("    pattern: array 0x4\n", "rows '0' is not a number from 1 to 65536");
    set_refused("    pattern: {array: {rows: 4, columns: 4, part: cel}}\n", "unknown part of an array 'cel'");
    set_refused("    pattern: array 4x4 stationary inputs\n", "unknown kind of stationary 'inputs'");
    set_refused("    pattern: array 4x4 parts pe\n", "did you mean 'part'?");
    set_refused("    pattern: array 4x4 part\n", "no value follows 'part'");
    set_refused("    per: image\n    pattern: rate 0.1\n", "line 3, per: unknown choice 'image'");
    set_refused("    lifetime: forever\n", "line 3, lifetime: 'forever' is neither transient, permanent nor a number");
    set_refused("    lifetime: 0\n", "neither transient, permanent nor a number");
    set_refused("    sample: few\n", "line 3, sample: 'few' is no sample; samples are:");
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    set_refused("    terms: 0\n", "line 2: terms belongs to partial-sums and products");
    set_refused("    per: item\n", "line 2: per belongs to patterns rate and count");
    set_refused("    per: item\n    pattern: rate 1e-6\n    lifetime: permanent\n",
                "line 2: faults per item last for one image");
    set_refused("    value: 1\n", "value belongs to model set-value");
    set_refused("    lo: 1\n", "lo belongs to models uniform-noise and uniform-value");
    set_refused("    hi: 1\n", "hi belongs to models uniform-noise and uniform-value");
    set_refused("    mean: 1\n", "mean belongs to models normal-noise and normal-value");
    set_refused("    std: 1\n", "std belongs to models normal-noise and normal-value");
    set_refused("    model: set-value\n", "model set-value needs a value");
    set_refused("    model: uniform-noise\n    lo: 2\n    hi: 1\n", "needs lo and hi, lo not above hi");
    set_refused("    model: normal-noise\n", "needs std, from 0 on");
    set_refused("    model: normal-noise std -1\n", "needs std, from 0 on");
    set_refused("    model: normal-value mean 1\n", "model normal-value needs std, from 0 on");
    set_refused("    model: uniform-value lo 1\n", "model uniform-value needs lo and hi");
    set_refused("    model: set-zero\n    n-bits: 2\n", "n-bits belongs to models flip and stuck-at");
    set_refused("    model: set-zero\n    bits: 0\n", "bits belong to models that change bits");
    set_refused("    pattern: rate 0.1\n    n-bits: 2\n", "where pattern is not rate");
    set_refused("    pattern: word 32\n    model: set-zero\n", "pattern word takes the models flip");
    set_refused("    pattern: word 8\n    n-bits: 9\n", "n-bits 9 are more than the 8 bits of a word");
    set_refused("    n-bits: 33\n", "n-bits 33: codes have at most 32 bits");
    set_refused("    burst: true\n", "a burst needs n-bits of 2 or more");
    set_refused("    pattern: rate 0.1\n    sample: all\n", "sample all: these faults are drawn at random");
    set_refused("    model: random-code\n    sample: all\n", "sample all: these faults are drawn at random");
    set_refused("    model: normal-value std 1\n    sample: all\n", "sample all: these faults are drawn at random");
    set_refused("    name: a\n  - where: biases\n    name: a\n", "line 4: another fault set is named 'a', too");
}

static void aliases_do_not_grow_without_bound(void **state)
{
    (void)state;
    enum { N = 9000 };
    char *yaml = malloc(100 + 4 * N + 100);
    char *at = yaml + sprintf(yaml, "faults:\n  - where: weights\n    layers: &l [a");
    for (int i = 1; i < N; i++) {
        at += sprintf(at, ", a");
    }
    sprintf(at, "]\n  - {where: weights, layers: *l}\n  - {where: weights, layers: *l}\n");
    refused(yaml, "more than 20000 values");
    free(yaml);
}

static void files_are_read_and_missing_ones_named(void **state)
{
    (void)state;
    const char *path = qn_scratch_file("faults.yaml");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("faults:\n  - where: activations\n    sample: 10\n", file);
    assert_int_equal(fclose(file), 0);
    qn_fault_spec spec;
    qn_error_init(&err);
    qn_assert_ok(qn_fault_spec_read(&spec, path, &err), &err);
    assert_string_equal(spec.where, path);
    assert_survives(&spec);
    qn_assert_fails(qn_fault_spec_read(&spec, "absent.yaml", &err), &err, QN_EIO, "absent.yaml");
    qn_fault_spec_free(&spec);
}

static void options_are_read_as_files_are(void **state)
{
    (void)state;
    const qn_fault_option options[] = {
        {"where", "--where", "weights,biases"}, {"layers", "--layers", "conv*"},
        {"layers", "--layers", "f,c"},          {"bits", "--bits", "0,7,msb"},
        {"model", "--fault", "flip n-bits 2"},  {"sample", "--sample", "1000 per layer"},
    };
    qn_fault_spec spec, file = read_spec("faults:\n  - where: [weights, biases]\n    layers: ['conv*', 'f,c']\n"
                                         "    bits: [0, 7, msb]\n    n-bits: 2\n    sample: 1000 per layer\n");
    qn_fault_spec_init(&spec);
    qn_error_init(&err);
    qn_assert_ok(qn_fault_spec_add_options(&spec, options, sizeof options / sizeof options[0], &err), &err);
    assert_int_equal(spec.n_sets, 1);
    assert_same_set(&spec.sets[0], &file.sets[0]);
    assert_survives(&spec);
    assert_survives(&file);
}

static void option_refused(const qn_fault_option *options, size_t n, const char *message)
{
    qn_fault_spec spec;
    qn_fault_spec_init(&spec);
    qn_error_init(&err);
    qn_assert_fails(qn_fault_spec_add_options(&spec, options, n, &err), &err, QN_EINVAL, message);
    assert_int_equal(spec.n_sets, 0);
    qn_fault_spec_free(&spec);
}

static void options_are_named_in_messages(void **state)
{
    (void)state;
    const qn_fault_option weights = {"where", "--where", "weights"};
    option_refused(NULL, 0, "--where is missing");
    option_refused((const qn_fault_option[]){weights, {"model", "--fault", "flop"}}, 2,
                   "--fault: unknown fault model 'flop'; did you mean 'flip'?");
    option_refused((const qn_fault_option[]){weights, {"layers", "--layers", "a\xff"}}, 2,
                   "--layers: holds bytes that are no text");
    option_refused((const qn_fault_option[]){weights, {"layers", "--layers", "a\n"}}, 2, "--layers: holds bytes");
    option_refused((const qn_fault_option[]){weights, {"bits", "--bits", ""}}, 2, "--bits: has no value");
    option_refused((const qn_fault_option[]){weights, {"bits", "--bits", "99"}}, 2, "--bits: bit 99");
    option_refused((const qn_fault_option[]){weights, {"lifetime", "--lifetime", "1"}, {"lifetime", "--lifetime", "2"}},
                   3, "--lifetime: a list, where one value is wanted");
}

/* Each allocation fails once: an error, and nothing half read. */
static void memory_may_run_out(void **state)
{
    (void)state;
    const char *yaml =
        "faults:\n  - where: weights\n    layers: [a, b]\n    bits: 0,sign\n    rows: 1\n  - where: biases\n";
    for (int n = 0;; n++) {
        qn_fault_spec spec;
        qn_error_init(&err);
        qn_alloc_fail_after(n);
        qn_status status = qn_fault_spec_parse(&spec, yaml, "faults.yaml", &err);
        qn_alloc_fail_after(-1);
        const int sets = spec.n_sets;
        qn_fault_spec_free(&spec);
        if (status == QN_OK) {
            assert_int_equal(sets, 2);
            assert_true(n > 0);
            break;
        }
        assert_int_equal(status, QN_ENOMEM);
        assert_int_equal(sets, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(what_is_left_out_has_defaults),
        cmocka_unit_test(everything_can_be_hit),
        cmocka_unit_test(fault_models_have_two_spellings),
        cmocka_unit_test(samples_are_read),
        cmocka_unit_test(samples_are_checked),
        cmocka_unit_test(the_document_is_checked),
        cmocka_unit_test(the_keys_of_fault_sets_are_checked),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(aliases_do_not_grow_without_bound),
        cmocka_unit_test(files_are_read_and_missing_ones_named),
        cmocka_unit_test(options_are_read_as_files_are),
        cmocka_unit_test(options_are_named_in_messages),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
