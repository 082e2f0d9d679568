// Package instances trains the instance decoder that micro-sam puts behind
// Segment Anything's image encoder, as its train_instance_segmentation does,
// but with an encoder that stays as it is, so that pictures are embedded once.
//
// In micro-sam's joint training this decoder and the prompt encoder with the
// mask decoder have losses and optimiser steps of their own and share the image
// encoder alone. With a frozen encoder the gradient of one loss in the weights
// of the other is 0: training both at once is the same as training one after the
// other, which is what is done here and in package train.
//
// Norms. A decoder is trained as it will be used. If it takes the statistics of
// the picture in hand, as micro-sam's do, each step normalises by those of its
// own picture, a batch of one, and the running statistics follow by a tenth of
// the way each time, as torch's BatchNorm2d in training mode does; they are no
// parameters. If it is used with its running statistics, as the bundled decoder
// is, steps use them too and leave them as they are: a few fields tell too
// little of them.
//
// Everything is a function of its inputs and a seed: the number of goroutines
// changes no bit.
//
// Source: micro_sam/training/training.py, train_instance_segmentation
// (micro-sam 3acdcd72); torch_em/loss/distance_based.py (torch-em 6f71247c).
package instances
