// Package lab is what the benchmarks share, so that all of them measure the same thing: the datagrams (a [Case] and its ring),
// the columns, the least that decoding can cost ([NewFloor]), Weir's decoder without a pipeline around it ([NewWeir]), and the
// way figures are taken ([Compare]): CPU time of the whole process, contenders by turns.
package lab
