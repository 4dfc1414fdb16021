/* Runs a fuzz target on every file of the folders given, without a fuzzer. An empty or missing corpus is a failure. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { PATH_BYTES = 4096, INPUT_MAX = 1 << 20 };

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *buffer = malloc(INPUT_MAX);
    if (file == NULL || buffer == NULL) {
        perror(path);
        exit(1);
    }
    size_t size = fread(buffer, 1, INPUT_MAX, file);
    fclose(file);
    uint8_t *exact = malloc(size > 0 ? size : 1); /* so that a sanitizer sees reads past the end */
    if (exact == NULL) {
        perror(path);
        exit(1);
    }
    for (size_t i = 0; i < size; i++) {
        exact[i] = buffer[i];
    }
    free(buffer);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 1;
}

static int run_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        perror(folder);
        exit(1);
    }
    int n_files = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[PATH_BYTES];
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            n_files += run_file(path);
        }
    }
    closedir(dir);
    return n_files;
}

int main(int argc, char **argv)
{
    int n_files = 0;
    for (int i = 1; i < argc; i++) {
        n_files += run_folder(argv[i]);
    }
    printf("%d files\n", n_files);
    return n_files > 0 ? 0 : 1;
}
