// The weights, as serving/native/build.py packed them, into the executable's read-only data.

  .section .rodata
  .globl digits_weights
digits_weights:
  .incbin "weights.bin"
  .section .note.GNU-stack, "", %progbits
