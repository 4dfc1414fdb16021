# The built-in model as C without an operating system: Cortex-M4, run by QEMU, and RISC-V, without even a C library.
warnings='-std=c99 -Wall -Wextra -Wconversion -pedantic -Werror'
done=0

exports() {
    dir=$1
    shift
    check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" --recipe minmax -q -f -o q.onnx "$@"
    check 0 '' quern export q.onnx --to c --vectors "$DIGITS/test_x_u8.npy" --limit 4 -f -o "$dir"
}
exports float
exports fixed --requantize fixed --weights int4
exports double --requantize double-shift --rounding floor

# The first words of memory: stack pointer and entry.
cat >reset.c <<'END'
extern void _start(void);
__attribute__((used, section(".vectors"))) const void *const vector_table[2] = {(void *)0x003ffff0, (void *)_start};
END
# cortex DIR FLAGS...
cortex() {
    dir=$1
    shift
    # shellcheck disable=SC2086 # several words
    check 0 '' arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb "$@" $warnings -DMODEL_TEST_BARE -c "$dir"/c/*.c
    check 0 '' arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb "$@" --specs=nosys.specs ./*.o -o "$dir.elf"
    check 0 '' arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb "$@" --specs=rdimon.specs -Wl,--section-start=.vectors=0 \
        -Wl,-u,vector_table reset.c ./*.o -o "$dir.elf"
    rm -f ./*.o
    if ! command -v qemu-system-arm >/dev/null; then
        echo "skipped: running $dir on a Cortex-M4; there is no qemu-system-arm"
        return
    fi
    check 0 '' timeout 60 qemu-system-arm -M mps2-an386 -cpu cortex-m4 -nographic -monitor none -serial none \
        -semihosting-config enable=on,target=native -kernel "$dir.elf"
    expect '^pass: 4 of 4 vectors$'
}
if command -v arm-none-eabi-gcc >/dev/null; then
    cortex fixed -O3
    cortex double -O0
    cortex float -O2
    done=1
else
    echo "skipped: Cortex-M4; there is no arm-none-eabi-gcc (packages gcc-arm-none-eabi, libnewlib-arm-none-eabi)"
fi

# Exits with 0 when every vector passes. No library at all: what is linked is the model, the compiler's helpers, and the
# two functions that every compiler makes calls of.
cat >start.c <<'END'
#include <stddef.h>
#include "vectors.h"
void *memset(void *to, int byte, size_t n)
{
    volatile unsigned char *p = to;
    while (n-- > 0) {
        *p++ = (unsigned char)byte;
    }
    return to;
}
void *memcpy(void *to, const void *from, size_t n)
{
    volatile unsigned char *p = to;
    const unsigned char *q = from;
    while (n-- > 0) {
        *p++ = *q++;
    }
    return to;
}
static model_out_t out;
#define DIFFERENCES(type, member, count)                              \
    for (i = 0; i < count; i++) {                                     \
        wrong += out.member[i] != expected->member[i];                \
    }
void _start(void)
{
    register long a0 __asm__("a0"), a7 __asm__("a7");
    long v, i, wrong = 0;
    for (v = 0; v < MODEL_VECTORS; v++) {
        const model_out_t *expected = &model_vectors_out[v];
        model_run(&model_vectors_in[v], &out);
        MODEL_OUTPUTS(DIFFERENCES)
    }
    a0 = wrong != 0;
    a7 = 93;
    __asm__ volatile("ecall" : : "r"(a0), "r"(a7));
}
END
# riscv DIR FLAGS...
riscv() {
    dir=$1
    shift
    machine='-march=rv32imac -mabi=ilp32'
    # shellcheck disable=SC2086 # several words
    check 0 '' riscv64-unknown-elf-gcc $machine --specs=picolibc.specs --oslib=semihost "$@" $warnings \
        -DMODEL_TEST_BARE "$dir"/c/*.c -o "$dir.elf"
    # shellcheck disable=SC2086
    check 0 '' riscv64-unknown-elf-gcc $machine "$@" -ffreestanding -mno-relax -nostdlib -static -Wl,-N -I"$dir/c" \
        start.c "$dir/c/model.c" "$dir"/c/quern_*.c "$dir/c/vectors.c" -lgcc -o "$dir.elf"
    if ! command -v qemu-riscv32 >/dev/null; then
        echo "skipped: running $dir on RISC-V; there is no qemu-riscv32 (package qemu-user)"
        return
    fi
    check 0 '' timeout 60 qemu-riscv32 "$dir.elf"
}
if command -v riscv64-unknown-elf-gcc >/dev/null; then
    riscv fixed -O3
    riscv double -O1
    riscv float -O2
    done=1
else
    echo "skipped: RISC-V; there is no riscv64-unknown-elf-gcc (packages gcc-riscv64-unknown-elf," \
        "picolibc-riscv64-unknown-elf)"
fi
# shellcheck disable=SC2154 # of run_cli.sh
if [ "$done" = 0 ] && [ "$failures" = 0 ]; then
    exit 77
fi
