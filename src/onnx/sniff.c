#include <string.h>

#include "onnx/onnx.h"

static const struct {
    size_t offset, length;
    const char *bytes;
    const char *what;
} signatures[] = {
    {0, 4, "PK\x03\x04", "a zip archive (npz, PyTorch .pt or a packed model)"},
    {0, 6, "\x93NUMPY", "a NumPy array"},
    {0, 2, "\x1f\x8b", "gzip-compressed; decompress it first"},
    {0, 4, "\x89HDF", "an HDF5 file (Keras)"},
    {4, 4, "TFL3", "a TensorFlow Lite model"},
    {4, 4, "ORTM", "an ONNX Runtime .ort file"},
    {0, 4,
     "\x7f"
     "ELF",
     "a program"},
    {0, 4, "%PDF", "a PDF document"},
    {0, 23, "version https://git-lfs", "a Git LFS pointer; fetch the real file with 'git lfs pull'"},
    {0, 1, "<", "an HTML or XML page; a download that went wrong?"},
    {0, 1, "{", "JSON text"},
};

static bool is_text(const unsigned char *data, size_t n_bytes)
{
    size_t n = n_bytes < 256 ? n_bytes : 256;
    for (size_t i = 0; i < n; i++) {
        bool is_control = data[i] < 0x20 && data[i] != '\n' && data[i] != '\r' && data[i] != '\t';
        if (is_control || data[i] >= 0xF8) { /* bytes that UTF-8 never has */
            return false;
        }
    }
    return true;
}

const char *qn_onnx_sniff(const unsigned char *data, size_t n_bytes)
{
    if (n_bytes == 0) {
        return "empty";
    }
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
        if (n_bytes >= signatures[i].offset + signatures[i].length &&
            memcmp(data + signatures[i].offset, signatures[i].bytes, signatures[i].length) == 0) {
            return signatures[i].what;
        }
    }
    return is_text(data, n_bytes) ? "plain text" : NULL;
}
