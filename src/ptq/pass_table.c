/* Every pass that a recipe can name, with its options: help texts, checks and `quern recipe` read this table. */
#include <string.h>

#include "ptq/recipe.h"

#define RANGE_RULE(fallback_rule)                                                                                      \
    {                                                                                                                  \
        .name = "rule", .fallback = fallback_rule, .kind = QN_PTQ_RULE                                                 \
    }

#define YES_NO(option, fallback_choice)                                                                                \
    {                                                                                                                  \
        .name = option, .fallback = fallback_choice, .kind = QN_PTQ_CHOICE, .choices = "yes|no"                        \
    }
#define NUMBER(option, fallback_number, least, most)                                                                   \
    {                                                                                                                  \
        .name = option, .fallback = fallback_number, .kind = QN_PTQ_NUMBER, .lo = least, .hi = most                    \
    }
#define ROUNDING_OPTIONS                                                                                               \
    {                                                                                                                  \
        YES_NO("search", "yes"), YES_NO("target", "yes"), YES_NO("biases", "yes"), YES_NO("one-run", "no")             \
    }

const qn_ptq_pass qn_ptq_passes[] = {
    {"settle-constants", "what is known ahead becomes a constant", qn_ptq_settle_constants, QN_PTQ_FORM | QN_PTQ_CLEANS, {{0}}},
    {"drop-identities", "remove Identity, Dropout, and moves, casts and operands that change nothing", qn_ptq_drop_identities, QN_PTQ_FORM | QN_PTQ_CLEANS, {{0}}},
    {"layer-normalization", "ReduceMean, Sub, Mul, ... become LayerNormalization", qn_ptq_recognize, QN_PTQ_FORM | QN_PTQ_CLEANS, {{0}}},
    {"gelu", "x (1 + Erf(x / sqrt 2)) / 2 and its Tanh form become Gelu", qn_ptq_recognize, QN_PTQ_FORM | QN_PTQ_CLEANS, {{0}}},
    {"hard-swish", "x Clip(x + 3, 0, 6) / 6 and x HardSigmoid become HardSwish", qn_ptq_recognize, QN_PTQ_FORM | QN_PTQ_CLEANS, {{0}}},
    {"hard-sigmoid", "Clip(x + 3, 0, 6) / 6 becomes HardSigmoid", qn_ptq_recognize, QN_PTQ_FORM | QN_PTQ_CLEANS, {{0}}},
    {"clip", "Min and Max with numbers become Clip", qn_ptq_recognize, QN_PTQ_FORM | QN_PTQ_CLEANS, {{0}}},
    {"softplus", "Log(Exp(x) + 1) becomes Softplus", qn_ptq_recognize, QN_PTQ_FORM | QN_PTQ_CLEANS, {{0}}},
    {"mish", "x Tanh(Softplus(x)) becomes Mish", qn_ptq_recognize, QN_PTQ_FORM | QN_PTQ_CLEANS, {{0}}},
    {"group-normalization", "Reshape, InstanceNormalization, Reshape become GroupNormalization", qn_ptq_recognize, QN_PTQ_FORM | QN_PTQ_CLEANS, {{0}}},
    {"move-transposes", "Transposes move towards the outputs until they undo each other", qn_ptq_move_transposes,
     QN_PTQ_FORM | QN_PTQ_CLEANS, {{0}}},
    {"fold-scales", "Mul and Div by a number, as of attention, go into weights before", qn_ptq_fold_scales,
     QN_PTQ_FORM | QN_PTQ_CLEANS, {{0}}},
    {"fold-batchnorm",
     "BatchNorm goes into the layer before, or becomes a depthwise Conv",
     qn_ptq_fold_batchnorm,
     QN_PTQ_FORM,
     {{0}}},
    {"fuse-bias", "the Add of a vector becomes the bias of Conv, Gemm or MatMul", qn_ptq_fuse_bias, QN_PTQ_FORM, {{0}}},
    {"plain-gemm", "alpha and beta of Gemm become 1", qn_ptq_plain_gemm, QN_PTQ_FORM, {{0}}},
    {"floor-pool",
     "AveragePool with ceil_mode becomes one with explicit padding",
     qn_ptq_floor_pool,
     QN_PTQ_FORM,
     {{0}}},
    {"whole-map-pool",
     "AveragePool over the whole map becomes GlobalAveragePool",
     qn_ptq_whole_map_pool,
     QN_PTQ_FORM,
     {{0}}},
    {"constant-second", "the constant operand of Add and Mul comes last", qn_ptq_constant_second, QN_PTQ_FORM, {{0}}},
    {"check-forms", "refuse networks that no engine can run", qn_ptq_check_forms, QN_PTQ_FORM, {{0}}},
    {"given-scales",
     "take all scales from the JSON description of a .tflite file, when one is named",
     qn_ptq_take_given_scales,
     0,
     {{.name = "scales", .fallback = "", .kind = QN_PTQ_TEXT}}},
    {"aidge",
     "Aidge's whole pipeline, instead of all other passes",
     qn_ptq_aidge,
     QN_PTQ_REQUIRES_DATA | QN_PTQ_ALONE,
     {NUMBER("bits", "8", 2, 16),
      {.name = "clip", .fallback = "max", .kind = QN_PTQ_CHOICE, .choices = "max|mse|aa|kl"},
      {.name = "signs", .fallback = "0", .kind = QN_PTQ_CHOICE, .choices = "0|1"},
      {.name = "shift", .fallback = "0", .kind = QN_PTQ_CHOICE, .choices = "0|1"},
      {.name = "round", .fallback = "1", .kind = QN_PTQ_CHOICE, .choices = "0|1"},
      {.name = "forks", .fallback = "residual", .kind = QN_PTQ_CHOICE, .choices = "residual|library"},
      NUMBER("input", "1", 1e-30, 1e30)}},
    {"equalize",
     "cross-layer equalization: channels of consecutive layers get weights of like range",
     qn_ptq_equalize,
     QN_PTQ_NEEDS_DATA,
     {YES_NO("powers-of-two", "no"), YES_NO("free-caps", "no")}},
    {"smooth",
     "channels get activations of like range, as far as weights allow",
     qn_ptq_smooth,
     QN_PTQ_NEEDS_RANGES | QN_PTQ_NEEDS_DATA,
     {NUMBER("alpha", "-1", -1, 1), YES_NO("powers-of-two", "no"), YES_NO("free-caps", "no")}},
    {"absorb-bias",
     "high biases move through Relu into the next layer",
     qn_ptq_absorb_bias,
     QN_PTQ_NEEDS_RANGES | QN_PTQ_NEEDS_DATA,
     {{0}}},
    {"sign-map",
     "find the values that cannot be negative: symmetric formats give them unsigned codes",
     qn_ptq_sign_map,
     QN_PTQ_NEEDS_RANGES,
     {{0}}},
    {"choose-ranges",
     "parameters of activations",
     qn_ptq_choose_ranges,
     QN_PTQ_NEEDS_RANGES,
     {RANGE_RULE("minmax"), {.name = "where", .fallback = "all", .kind = QN_PTQ_CHOICE, .choices = "all|inputs"}}},
    {"tune-ranges",
     "move ranges while the error of the network's output falls",
     qn_ptq_tune_ranges,
     QN_PTQ_NEEDS_RANGES | QN_PTQ_NEEDS_DATA,
     {{0}}},
    {"fuse-activation",
     "a Relu or Clip that the codes' bounds imply goes into its producer",
     qn_ptq_fuse_activation,
     0,
     {{0}}},
    {"quantize-joins",
     "code the constant operands of Add, Concat and other joins",
     qn_ptq_quantize_joins,
     QN_PTQ_ROUNDS,
     {{0}}},
    {"settle-sums", "scales of sums that every runtime rounds alike", qn_ptq_settle_sums, 0, {{0}}},
    {"choose-weights", "parameters of weights", qn_ptq_choose_weights, 0, {RANGE_RULE("minmax")}},
    {"gptq", "round weights by error feedback over the calibration set", qn_ptq_gptq, QN_PTQ_NEEDS_DATA | QN_PTQ_ROUNDS,
     ROUNDING_OPTIONS},
    {"learned-rounding", "error feedback, then descent over the loss of each layer's output", qn_ptq_learned_rounding,
     QN_PTQ_NEEDS_DATA | QN_PTQ_ROUNDS, ROUNDING_OPTIONS},
    {"correct-bias",
     "biases that keep the means of every layer's outputs",
     qn_ptq_correct_bias,
     QN_PTQ_NEEDS_DATA | QN_PTQ_ROUNDS,
     {{0}}},
    {"correct-bias-analytic",
     "the same from what BatchNorm said, without data",
     qn_ptq_correct_bias_analytic,
     QN_PTQ_ROUNDS,
     {{0}}},
    {"arbitrate-joins",
     "inputs of Add and Concat share the greatest scale, for hardware that needs it",
     qn_ptq_arbitrate_joins,
     0,
     {{0}}},
    {"quantize-weights", "code weights and biases", qn_ptq_quantize_weights, QN_PTQ_ROUNDS, {{0}}},
};
const size_t qn_ptq_n_passes = sizeof qn_ptq_passes / sizeof qn_ptq_passes[0];

const qn_ptq_pass *qn_ptq_find_pass(const char *name)
{
    for (size_t i = 0; i < qn_ptq_n_passes; i++) {
        if (strcmp(qn_ptq_passes[i].name, name) == 0) {
            return &qn_ptq_passes[i];
        }
    }
    return NULL;
}
