// kernels.cpp: the kernels, compiled for the CPU. The build puts words.h
// before this file and the kernels' folder on the include path.
#include "attention.cu"
#include "cut.cu"
#include "map.cu"
#include "product.cu"
#include "prompt.cu"
#include "relpos.cu"
#include "rows.cu"
#include "tensor_words.h"
#include "tensor.cu"
#include "tensor_relpos.cu"

KERNEL(linear_64)
KERNEL(linear_128)
KERNEL(conv)
KERNEL(upscale2x2)
KERNEL(relpos_attention)
FLAT_KERNEL(attend_queries_16)
FLAT_KERNEL(attend_queries_32)
FLAT_KERNEL(attend_queries_128)
KERNEL(attend_keys_16)
KERNEL(attend_keys_32)
KERNEL(attend_keys_128)
FLAT_KERNEL(bilinear2x)
KERNEL(channel_sums)
FLAT_KERNEL(channel_scale)
FLAT_KERNEL(scale_shift)
FLAT_KERNEL(skip)
FLAT_KERNEL(sigmoid)
FLAT_KERNEL(depthwise)
FLAT_KERNEL(attend_offsets_32)
FLAT_KERNEL(attend_offsets_128)
KERNEL(cut_masks)
KERNEL(layer_norm)
FLAT_KERNEL(activation)
FLAT_KERNEL(add_rows)
FLAT_KERNEL(tokens)
FLAT_KERNEL(pick)
FLAT_KERNEL(mask_products)
FLAT_KERNEL(quality_floor)
FLAT_KERNEL(points)
FLAT_KERNEL(dense_positions)
KERNEL(tensor_linear_tf32)
KERNEL(tensor_linear_bf16)
KERNEL(tensor_linear_f16)
KERNEL(tensor_conv_tf32)
KERNEL(tensor_conv_bf16)
KERNEL(tensor_conv_f16)
KERNEL(tensor_relpos_bf16_64)
KERNEL(tensor_relpos_bf16_80)
KERNEL(tensor_relpos_f16_64)
KERNEL(tensor_relpos_f16_80)
