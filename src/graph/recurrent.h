/* LSTM, GRU and RNN: parameters after defaults and checks; for inference and graph/compute. */
#ifndef QN_GRAPH_RECURRENT_H
#define QN_GRAPH_RECURRENT_H

#include "graph/bind.h"

typedef enum qn_recurrent_function {
    QN_RECURRENT_AFFINE,
    QN_RECURRENT_ELU,
    QN_RECURRENT_HARD_SIGMOID,
    QN_RECURRENT_LEAKY_RELU,
    QN_RECURRENT_RELU,
    QN_RECURRENT_SCALED_TANH,
    QN_RECURRENT_SIGMOID,
    QN_RECURRENT_SOFTPLUS,
    QN_RECURRENT_SOFTSIGN,
    QN_RECURRENT_TANH,
    QN_RECURRENT_THRESHOLDED_RELU,
} qn_recurrent_function;

typedef struct qn_recurrent_activation {
    qn_recurrent_function function;
    float alpha, beta;
} qn_recurrent_activation;

/* States live on the stack of the thread that runs. */
enum { QN_RECURRENT_HIDDEN_MOST = 4096 };

/*  gates      of the weights: LSTM i o f c, GRU z r h, RNN one
 *  reversed   whether the first direction begins at the end; a second one always does
 *  batch_leads  layout 1
 *  clip       inputs of activations lie within [-clip, clip]; infinite when absent */
typedef struct qn_recurrent {
    int gates, directions;
    int64_t steps, batch, inputs, hidden;
    bool reversed, batch_leads, linear_before_reset, input_forget;
    float clip;
    qn_recurrent_activation activations[2][3];
} qn_recurrent;

/* Errors: QN_EFORMAT, QN_ESHAPE; QN_ELIMIT for more hidden units than QN_RECURRENT_HIDDEN_MOST. */
qn_status qn_recurrent_of_node(qn_recurrent *r, const qn_binding *binding, const qn_node *node, qn_error *err);

#endif
