/* Help texts and man pages, both from the command tables. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const char exit_codes[] = "0 ok, 1 failed, 2 misuse, 3 input or output refused, 4 results differ";

static const char program_summary[] = "grind trained neural networks into few-bit codes, exactly";

static const char program_environment[] = "QUERN_CPU limits the instruction sets used: reference, avx2, avx512, vnni "
                                          "or amx. Integer results never depend on it.";

static void print_option(const cli_option *option)
{
    char left[64];
    char letter[8] = "    ";
    if (option->letter != 0) {
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    }
    snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name, option->argument != NULL ? " " : "",
             option->argument != NULL ? option->argument : "");
    printf("  %-26s %s\n", left, option->help);
}

static void print_options(const char *title, const cli_option *options)
{
    printf("\n%s:\n", title);
    for (; options->name != NULL; options++) {
        print_option(options);
    }
}

void cli_print_help(const cli_command *command)
{
    printf("usage: quern %s %s\n\n%s.\n\n%s\n", command->name, command->usage, command->summary, command->description);
    if (command->options != NULL) {
        print_options("Options", command->options);
    }
    if (command->quantization) {
        print_options("How to quantize", cli_quantization_options);
    }
    if (command->preprocess) {
        print_options("Preprocessing, recorded in what is written, so that later commands need not repeat it",
                      cli_preprocess_options);
    }
    print_options("Common options", cli_common_options);
    printf("\nExample:\n");
    for (const char *line = command->example; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        printf("  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
    printf("\nExit codes: %s.\n", exit_codes);
}

void cli_print_overview(void)
{
    printf("usage: quern COMMAND [ARGUMENTS]\n\nquern - %s\n\nCommands:\n", program_summary);
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        printf("  %-12s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    }
    printf("  %-12s %s\n", "help", "show the help of a command");
    printf("\n'quern COMMAND --help' tells more. 'quern --version' prints the version.\n%s\nExit codes: %s.\n",
           program_environment, exit_codes);
}

/* roff: a leading dot or quote would be a request, and a hyphen must stay one. */
static void print_roff(const char *text)
{
    bool line_start = true;
    for (; *text != '\0'; text++) {
        if (line_start && (*text == '.' || *text == '\'')) {
            fputs("\\&", stdout);
        }
        if (*text == '-') {
            fputs("\\-", stdout);
        } else if (*text == '\\') {
            fputs("\\e", stdout);
        } else {
            putchar(*text);
        }
        line_start = *text == '\n';
    }
}

static void print_roff_options(const cli_option *options)
{
    for (; options->name != NULL; options++) {
        puts(".TP");
        if (options->letter != 0) {
            printf("\\fB\\-%c\\fR, ", options->letter);
        }
        printf("\\fB\\-\\-");
        print_roff(options->name);
        fputs("\\fR", stdout);
        if (options->argument != NULL) {
            printf(" \\fI%s\\fR", options->argument);
        }
        putchar('\n');
        print_roff(options->help);
        putchar('\n');
    }
}

static void print_title(const char *name, const char *summary)
{
    char upper[32] = "";
    for (size_t i = 0; name[i] != '\0' && i + 1 < sizeof upper; i++) {
        upper[i] = (char)toupper((unsigned char)name[i]);
    }
    printf(".TH %s 1 \"\" \"quern %s\" \"quern manual\"\n.SH NAME\n", upper, qn_version());
    print_roff(name);
    printf(" \\- ");
    print_roff(summary);
    putchar('\n');
}

static void print_man_tail(void)
{
    puts(".SH ENVIRONMENT");
    print_roff(program_environment);
    puts("\n.SH EXIT STATUS");
    print_roff(exit_codes);
    puts(".");
}

static void print_program_man(void)
{
    print_title("quern", program_summary);
    puts(".SH SYNOPSIS\n\\fBquern\\fR \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]\n.SH COMMANDS");
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        printf(".TP\n\\fB%s\\fR\n", cli_commands[i]->name);
        print_roff(cli_commands[i]->summary);
        printf("; see \\fBquern\\-%s\\fR(1)\n", cli_commands[i]->name);
    }
    print_man_tail();
}

void cli_print_man(const cli_command *command)
{
    if (command == NULL) {
        print_program_man();
        return;
    }
    char name[32];
    snprintf(name, sizeof name, "quern-%s", command->name);
    print_title(name, command->summary);
    printf(".SH SYNOPSIS\n\\fBquern %s\\fR ", command->name);
    print_roff(command->usage);
    puts("\n.SH DESCRIPTION");
    print_roff(command->description);
    puts("\n.SH OPTIONS");
    if (command->options != NULL) {
        print_roff_options(command->options);
    }
    if (command->quantization) {
        print_roff_options(cli_quantization_options);
    }
    if (command->preprocess) {
        print_roff_options(cli_preprocess_options);
    }
    print_roff_options(cli_common_options);
    puts(".SH EXAMPLE\n.nf");
    print_roff(command->example);
    puts("\n.fi");
    print_man_tail();
    puts(".SH SEE ALSO\n\\fBquern\\fR(1)");
}
