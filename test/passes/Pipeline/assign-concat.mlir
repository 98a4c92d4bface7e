// RUN: evo-opt %s --kern-assign-buffers --kern-free-buffers --kern-verify-buffers | FileCheck %s

// Parts that kernels make are written to their place in the whole, as one version of it, and the whole is read as that.
kern.tensor @dm : tensor<4x16xf32>
kern.tensor @da : tensor<4x7xf32>
kern.tensor @db : tensor<4x9xf32>

// CHECK-LABEL: kern.procedure @in_place
kern.procedure @in_place module "" phase "backward" choice "" tensors [@dm, @da, @db] {
^bb0(%dm: tensor<4x16xf32>, %a: tensor<4x7xf32>, %b: tensor<4x9xf32>):
  // The rows of 16 need no padding.
  // CHECK: %[[WHOLE:.*]] = kern.alloc "concat.0" : !kern.buffer<4x16xf32, 16>
  // CHECK: %[[B:.*]] = kern.view %[[WHOLE]] start [0, 7] loops [-1, -1] extent [4, 9] loops [-1, -1] order [0, 1] version 1 :
  // CHECK-NEXT: kern.launch "copy"(%{{.*}}, %[[B]])
  %pb = kern.copy(x = %b) : (tensor<4x9xf32>) -> (tensor<4x9xf32>)
  // CHECK: %[[A:.*]] = kern.view %[[WHOLE]] start [0, 0] loops [-1, -1] extent [4, 7] loops [-1, -1] order [0, 1] version 1 :
  // CHECK-NEXT: kern.launch "copy"(%{{.*}}, %[[A]])
  %pa = kern.copy(x = %a) : (tensor<4x7xf32>) -> (tensor<4x7xf32>)
  %d = kern.concat %pa, %pb axis 1 : tensor<4x7xf32>, tensor<4x9xf32> -> tensor<4x16xf32>
  // CHECK-NEXT: %[[OLD:.*]] = kern.view %{{.*}} version 0 :
  // CHECK-NEXT: %[[READ:.*]] = kern.view %[[WHOLE]] start [0, 0] loops [-1, -1] extent [4, 16] {{.*}} version 1 :
  // CHECK-NEXT: %[[NEW:.*]] = kern.view %{{.*}} version 1 :
  // CHECK-NEXT: kern.launch "add"(%[[OLD]], %[[READ]], %[[NEW]])
  // CHECK-NEXT: kern.free %[[WHOLE]]
  %y = kern.add(x = %dm, addend = %d) : (tensor<4x16xf32>, tensor<4x16xf32>) -> (tensor<4x16xf32>)
  kern.return [@dm] %y : tensor<4x16xf32>
}

// A part that is no kernel's, and one that has its place already, are copied.
// CHECK-LABEL: kern.procedure @copied
kern.procedure @copied module "" phase "backward" choice "" tensors [@dm, @da] {
^bb0(%dm: tensor<4x16xf32>, %a: tensor<4x7xf32>):
  %s = kern.slice %dm axis 1 start 3 size 2 : tensor<4x16xf32> -> tensor<4x2xf32>
  // CHECK: %[[WHOLE:.*]] = kern.alloc "concat.0" : !kern.buffer<4x16xf32, 16>
  // CHECK: %[[FIRST:.*]] = kern.view %[[WHOLE]] start [0, 0] loops [-1, -1] extent [4, 7] {{.*}} version 1 :
  // CHECK-NEXT: kern.launch "copy"(%{{.*}}, %[[FIRST]])
  %p = kern.copy(x = %a) : (tensor<4x7xf32>) -> (tensor<4x7xf32>)
  // CHECK-NEXT: %[[FROM:.*]] = kern.view %[[WHOLE]] start [0, 0] loops [-1, -1] extent [4, 7] {{.*}} version 1 :
  // CHECK-NEXT: %[[AGAIN:.*]] = kern.view %[[WHOLE]] start [0, 7] loops [-1, -1] extent [4, 7] {{.*}} version 1 :
  // CHECK-NEXT: kern.launch "copy"(%[[FROM]], %[[AGAIN]])
  // CHECK-NEXT: %[[SLICE:.*]] = kern.view %{{.*}} start [0, 3] loops [-1, -1] extent [4, 2] {{.*}} version 0 :
  // CHECK-NEXT: %[[LAST:.*]] = kern.view %[[WHOLE]] start [0, 14] loops [-1, -1] extent [4, 2] {{.*}} version 1 :
  // CHECK-NEXT: kern.launch "copy"(%[[SLICE]], %[[LAST]])
  %d = kern.concat %p, %p, %s axis 1 : tensor<4x7xf32>, tensor<4x7xf32>, tensor<4x2xf32> -> tensor<4x16xf32>
  %y = kern.add(x = %dm, addend = %d) : (tensor<4x16xf32>, tensor<4x16xf32>) -> (tensor<4x16xf32>)
  kern.return [@dm] %y : tensor<4x16xf32>
}

// Who overwrites the whole, or a part, waits until nobody reads the other: the softmax of a part, which the whole's reader
// follows, and the softmax of the whole, which a part's reader follows, get memory of their own; the last one does not.
// CHECK-LABEL: kern.procedure @readers
kern.procedure @readers module "" phase "backward" choice "" tensors [@dm, @da, @db] {
^bb0(%dm: tensor<4x16xf32>, %a: tensor<4x7xf32>, %b: tensor<4x9xf32>):
  %pa = kern.copy(x = %a) : (tensor<4x7xf32>) -> (tensor<4x7xf32>)
  %pb = kern.copy(x = %b) : (tensor<4x9xf32>) -> (tensor<4x9xf32>)
  %d = kern.concat %pa, %pb axis 1 : tensor<4x7xf32>, tensor<4x9xf32> -> tensor<4x16xf32>
  // CHECK: %[[PART:.*]] = kern.alloc "softmax.1" : !kern.buffer<4x7xf32, 8>
  // CHECK: %[[P:.*]] = kern.view %[[PART]]
  // CHECK-NEXT: kern.launch "softmax"(%{{.*}}, %[[P]])
  %s = kern.softmax(x = %pa) : (tensor<4x7xf32>) -> (tensor<4x7xf32>)
  // CHECK: %[[ALL:.*]] = kern.alloc "softmax.2" : !kern.buffer<4x16xf32, 16>
  // CHECK: %[[W:.*]] = kern.view %[[ALL]]
  // CHECK-NEXT: kern.launch "softmax"(%{{.*}}, %[[W]])
  %t = kern.softmax(x = %d) : (tensor<4x16xf32>) -> (tensor<4x16xf32>)
  // CHECK: %[[X:.*]] = kern.view %[[BOTH:.*]] start [0, 7] {{.*}} version 1 :
  // CHECK-NEXT: %[[Y:.*]] = kern.view %[[BOTH]] start [0, 7] {{.*}} version 2 :
  // CHECK-NEXT: kern.launch "softmax"(%[[X]], %[[Y]])
  %u = kern.softmax(x = %pb) : (tensor<4x9xf32>) -> (tensor<4x9xf32>)
  %y = kern.add(x = %dm, addend = %t) : (tensor<4x16xf32>, tensor<4x16xf32>) -> (tensor<4x16xf32>)
  kern.return [@dm, @da, @db] %y, %s, %u : tensor<4x16xf32>, tensor<4x7xf32>, tensor<4x9xf32>
}

// The gradient of weights that lie together is made in its place, part by part.
// CHECK-LABEL: kern.procedure @stored
kern.procedure @stored module "" phase "backward" choice "" tensors [@da, @db] {
^bb0(%a: tensor<4x7xf32>, %b: tensor<4x9xf32>):
  // CHECK: %[[G:.*]] = kern.gradient_buffer "ab" : !kern.buffer<16xf32, 16>
  // CHECK: %[[A:.*]] = kern.view %[[G]] start [0] loops [-1] extent [7] {{.*}} version 1 :
  // CHECK-NEXT: kern.launch "bias_grad"(%{{.*}}, %[[A]])
  %da = kern.bias_grad(du = %a) : (tensor<4x7xf32>) -> (tensor<7xf32>)
  // CHECK: %[[B:.*]] = kern.view %[[G]] start [7] loops [-1] extent [9] {{.*}} version 1 :
  // CHECK-NEXT: kern.launch "bias_grad"(%{{.*}}, %[[B]])
  %db = kern.bias_grad(du = %b) : (tensor<4x9xf32>) -> (tensor<9xf32>)
  // CHECK-NOT: kern.launch
  // CHECK: kern.return []
  %d = kern.concat %da, %db axis 0 : tensor<7xf32>, tensor<9xf32> -> tensor<16xf32>
  kern.store_gradient %d "ab" : tensor<16xf32>
  kern.return [@da, @db] %a, %b : tensor<4x7xf32>, tensor<4x9xf32>
}
