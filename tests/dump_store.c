/* Print the rows of a campaign store, for the scripts in tests/cli. usage: dump_store STORE
 *
 * First what SQLite's integrity check says, then all rows of faults, changes and pairs, reals with all their digits. */
#include <sqlite3.h>
#include <stdio.h>

static void print_column(sqlite3_stmt *statement, int column)
{
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_FLOAT:
        printf(" %a", sqlite3_column_double(statement, column));
        break;
    case SQLITE_NULL:
        printf(" null");
        break;
    default:
        printf(" %s", (const char *)sqlite3_column_text(statement, column));
    }
}

static int dump(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            print_column(statement, i);
        }
        printf("\n");
        code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int main(int argc, char **argv)
{
    static const char *const queries[] = {
        "PRAGMA integrity_check",
        "SELECT * FROM faults ORDER BY id",
        "SELECT * FROM changes ORDER BY fault, number",
        "SELECT * FROM pairs ORDER BY fault, image",
    };
    sqlite3 *db = NULL;
    int code = argc == 2 ? sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, NULL) : SQLITE_MISUSE;
    for (size_t i = 0; code == SQLITE_OK && i < sizeof queries / sizeof queries[0]; i++) {
        code = dump(db, queries[i]);
    }
    if (code != SQLITE_OK) {
        fprintf(stderr, "dump_store: %s\n", sqlite3_errstr(code));
    }
    sqlite3_close(db);
    return code == SQLITE_OK ? 0 : 1;
}
