/* Philox4x32-10 against the known answers that its authors publish with Random123. */
#include "support.h"

#include "base/random.h"

static void known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], block[4];
    } rows[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t block[4];
        qn_philox4x32(block, rows[i].counter, rows[i].key);
        assert_memory_equal(block, rows[i].block, sizeof block);
    }
}

static void streams_are_blocks_in_order(void **state)
{
    (void)state;
    const uint64_t seed = 0x0123456789abcdefu, stream = 0xfedcba9876543210u, index = 0x500000007u;
    const uint32_t counter[4] = {(uint32_t)(index / 4), (uint32_t)(index / 4 >> 32), 0x76543210u, 0xfedcba98u};
    const uint32_t key[2] = {0x89abcdefu, 0x01234567u};
    uint32_t block[4];
    qn_philox4x32(block, counter, key);
    assert_int_equal(qn_random_u32(seed, stream, index), block[index % 4]);
    assert_int_equal(qn_random_u32(0, 0, 0), 0x6627e8d5);
    assert_int_equal(qn_random_u32(0, 0, 3), 0x9b00dbd8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(streams_are_blocks_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
