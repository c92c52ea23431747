// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every exit that asks for a page state, and every other way into a conversion,
// must go through the engine: it locks and orders them, it can wait without
// losing a kick, and its errors go to the guest instead of stopping the VM.
//
// Engines: gmem
// Include: accel/kvm/kvm-all.c system/gmem-kvm.h
// Include: target/i386/kvm/kvm.c system/gmem-kvm.h
// Hook: convert_memory accel/kvm/kvm-all.c 1
// Hook: pre_run accel/kvm/kvm-all.c 1
// Hook: run_result accel/kvm/kvm-all.c 1
// Hook: handle_exit accel/kvm/kvm-all.c 1
// Hook: vcpu_reset accel/kvm/kvm-all.c 1
// Hook: vcpu_destroy accel/kvm/kvm-all.c 1
// Hook: vcpu_init target/i386/kvm/kvm.c 1

@convert_memory@
position p;
@@
int kvm_convert_memory@p(...)
{
+    return gmem_kvm_convert_memory(start, size, to_private);
...
}

@pre_run@
position p;
@@
+ if (gmem_kvm_pre_run(cpu, &ret)) {
+     break;
+ }
run_ret = kvm_vcpu_ioctl@p(cpu, KVM_RUN, 0);

@run_result@
position p;
@@
attrs = kvm_arch_post_run@p(cpu, run);
+ run_ret = gmem_kvm_run_result(run, run_ret);

@handle_exit@
position p;
@@
trace_kvm_run_exit@p(...);
+ if (gmem_kvm_handle_exit(cpu, run, &ret)) {
+     continue;
+ }

@vcpu_reset@
position p;
@@
void do_kvm_cpu_synchronize_post_reset@p(...)
{
+    gmem_kvm_vcpu_reset(cpu);
...
}

@vcpu_destroy@
position p;
@@
void kvm_destroy_vcpu@p(...)
{
+    gmem_kvm_vcpu_reset(cpu);
...
}

@vcpu_init@
position p;
@@
int kvm_arch_process_async_events(...)
{
<...
+ gmem_kvm_vcpu_reset(cs);
do_cpu_init@p(cpu);
...>
}
