// SPDX-License-Identifier: GPL-2.0-or-later
//
// Devices that print when they cannot map the guest's memory would print as often as the
// guest likes: all it takes is one private page. They say it once.
//
// Engines: gmem
// Hook: ahci_engines hw/ide/ahci.c 2
// Hook: ehci_error hw/usb/hcd-ehci.c 1
// Include: hw/usb/hcd-ehci.c qemu/error-report.h

@ahci_engines@
position p;
@@
ahci_cond_start_engines(...)
{
<...
- error_report@p
+ error_report_once
  (...)
...>
}

@ehci_error@
position p;
@@
- fprintf@p(...);
+ error_report_once("ehci: processing error, resetting the controller");
ehci_reset(ehci);
