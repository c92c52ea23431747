// SPDX-License-Identifier: GPL-2.0-or-later
//
// A disk's transfer whose memory cannot be mapped waits and tries again. In the base
// that takes bounce buffers, all in use at once; here a guest has it by naming one private
// page. So whatever ends transfers must end one that waits as well: cancelling drops it
// for good, and who drains a disk cancels it, for nothing of it is in flight. It is the guest's
// own doing, so no error policy of the disk applies and nothing is printed.
//
// Engines: gmem
// Hook: cancel_waiting system/dma-helpers.c 1
// Include: hw/ide/core.c system/gmem-transfer.h
// Hook: stop_ide hw/ide/core.c 1
// Hook: error_action hw/ide/core.c 1
// Include: hw/ide/ahci.c system/gmem-transfer.h
// Hook: error_action hw/ide/ahci.c 1
// Include: hw/scsi/scsi-disk.c system/gmem-transfer.h
// Hook: error_action hw/scsi/scsi-disk.c 1
// Include: hw/block/virtio-blk.c system/gmem-transfer.h
// Hook: error_action hw/block/virtio-blk.c 1
// Include: hw/nvme/ctrl.c hw/nvme/gmem-nvme.h
// Include: hw/nvme/ctrl.c system/gmem-transfer.h
// Hook: free_queue hw/nvme/ctrl.c 1
// Hook: nvme_message hw/nvme/ctrl.c 1

@cancel_waiting@
position p;
@@
dma_aio_cancel(...)
{
<...
dbs->bh = NULL@p;
+ dma_complete(dbs, -ECANCELED);
+ return;
...>
}

@stop_ide@
position p;
@@
ide_cancel_dma_sync(...)
{
<...
blk_drain@p(s->blk);
+ if (s->bus->dma->aiocb) {
+     blk_aio_cancel(s->bus->dma->aiocb);
+ }
...>
}

@free_queue@
position p;
@@
nvme_free_sq(...)
{
<...
+ gmem_nvme_cancel_waiting(sq);
qemu_bh_delete@p(sq->bh);
...>
}

@nvme_message@
position p;
@@
nvme_rw_complete_cb(...)
{
<...
- error_report_err@p(err);
+ gmem_transfer_report(err, ret);
...>
}

@error_action@
position p;
@@
- blk_get_error_action@p
+ gmem_transfer_error_action
  (...)
