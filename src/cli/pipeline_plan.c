#include "cli/pipeline_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/session.h"

cli_exit cli_pipeline_refuse(const qn_error *err)
{
    const cli_exit code = cli_fail(err);
    return code == CLI_USAGE ? CLI_REFUSED : code;
}

static cli_exit parse_count(const cli_args *args, const char *option, long most, long *n)
{
    const char *text = cli_value(args, option);
    char *end;
    if (text == NULL) {
        return CLI_OK;
    }
    errno = 0;
    *n = strtol(text, &end, 10);
    return errno != 0 || end == text || *end != '\0' || *n < 1 || *n > most
               ? cli_misuse("--%s '%s' is not a number from 1 to %ld", option, text, most)
               : CLI_OK;
}

cli_exit cli_pipeline_load(const cli_args *args, cli_pipeline_plan *p)
{
    qn_error err;
    qn_error_init(&err);
    *p = (cli_pipeline_plan){.name = ""};
    if ((cli_value(args, "plan") != NULL) == (cli_value(args, "stages") != NULL)) {
        return cli_misuse("give either --plan FILE or --stages N; usage: quern pipeline %s", args->command->usage);
    }
    if (cli_value(args, "plan") != NULL && cli_value(args, "link") != NULL) {
        return cli_misuse("--link goes with --stages: a plan says for each link how tensors travel");
    }
    return qn_model_load(&p->model, args->positional[0], &err) == QN_OK ? CLI_OK : cli_fail(&err);
}

static cli_exit find_cuts(const cli_args *args, cli_pipeline_plan *p)
{
    qn_error err;
    qn_error_init(&err);
    qn_engine engine = p->plan.engine;
    if (!p->plan.engine_given && qn_engine_choose(&engine, p->model, &err) != QN_OK) {
        return cli_fail(&err);
    }
    const cli_exit code = cli_parse_engine(args, &engine);
    if (code != CLI_OK) {
        return code;
    }
    return qn_cuts_create(&p->cuts, p->model, engine, &err) == QN_OK ? CLI_OK : cli_pipeline_refuse(&err);
}

cli_exit cli_pipeline_make_plan(const cli_args *args, cli_pipeline_plan *p)
{
    qn_error err;
    qn_error_init(&err);
    long n_stages = 1, microbatch = 0;
    const char *file = cli_value(args, "plan"), *link = cli_value(args, "link"), *rest = NULL;
    cli_exit code = parse_count(args, "stages", QN_PLAN_MAX_STAGES, &n_stages);
    code = code == CLI_OK ? parse_count(args, "microbatch", QN_PLAN_MAX_MICROBATCH, &microbatch) : code;
    if (code == CLI_OK && link != NULL &&
        (qn_link_choice_parse(&p->choice, p->format, link, &rest, &err) != QN_OK || rest != NULL)) {
        return err.status != QN_OK
                   ? cli_misuse("--link: %s", err.message)
                   : cli_misuse("--link '%s' names several choices; links of a plan can have them", link);
    }
    if (code == CLI_OK && file != NULL && qn_plan_read(&p->plan, file, &err) != QN_OK) {
        return cli_fail(&err);
    }
    code = code == CLI_OK ? find_cuts(args, p) : code;
    if (code != CLI_OK) {
        return code;
    }
    if (file == NULL) {
        microbatch = microbatch > 0 ? microbatch : qn_cuts_batched(p->cuts) ? 8 : 1;
        if (qn_plan_even(&p->plan, p->cuts, (size_t)n_stages, microbatch, link != NULL ? &p->choice : NULL, &err) !=
            QN_OK) {
            return cli_pipeline_refuse(&err);
        }
        snprintf(p->made, sizeof p->made, "%ld even stage%s", n_stages, n_stages == 1 ? "" : "s");
    }
    p->plan.microbatch = microbatch > 0 ? microbatch : p->plan.microbatch;
    p->name = file != NULL ? file : p->made;
    return CLI_OK;
}

cli_exit cli_pipeline_check(cli_pipeline_plan *p)
{
    qn_error err;
    qn_error_init(&err);
    p->positions = qn_alloc((p->plan.n_stages + 1) * sizeof *p->positions);
    if (p->positions == NULL) {
        (void)qn_fail_memory(&err, p->name, (p->plan.n_stages + 1) * sizeof *p->positions);
        return cli_fail(&err);
    }
    return qn_plan_check(p->positions, &p->plan, p->cuts, &err) == QN_OK ? CLI_OK : cli_pipeline_refuse(&err);
}

void cli_pipeline_digest(char hex[65], const cli_pipeline_plan *p)
{
    const qn_plan *plan = &p->plan;
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    hex[0] = '\0';
    if (out == NULL) {
        return;
    }
    fprintf(out, "%d %lld %s %a %a %lld\n", (int)qn_cuts_engine(p->cuts), (long long)plan->microbatch, plan->policy,
            plan->rate, plan->accuracy_budget, (long long)plan->window);
    for (size_t k = 0; k < plan->n_stages; k++) {
        fprintf(out, "%s\n", plan->stages[k].until != NULL ? plan->stages[k].until : "");
        for (size_t i = 0; k + 1 < plan->n_stages && i < plan->links[k].n_choices; i++) {
            char choice[QN_LINK_CHOICE_MAX];
            qn_link_choice_text(choice, &plan->links[k].choices[i]);
            fprintf(out, " %s %d\n", choice, plan->links[k].checksum);
        }
    }
    if (fclose(out) == 0) {
        qn_sha256_hex(hex, text, n);
    }
    free(text);
}

void cli_pipeline_unload(cli_pipeline_plan *p)
{
    qn_free(p->positions);
    qn_plan_free(&p->plan);
    qn_cuts_free(p->cuts);
    qn_model_free(p->model);
    *p = (cli_pipeline_plan){.name = ""};
}
