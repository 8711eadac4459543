// A linked clone of a template, exported to a guest, and a snapshot of it while the guest runs.

import IORuntime
import Sluice

// snippet.export
let host = try await StorageHost.open()
_ = try await host.addPool(PoolRegistration(name: "fast", url: "dir:///srv/fast"))
let vm = VolumeAddress(pool: "fast", name: "vm1")
_ = try await host.cloneVolume(VolumeAddress("fast/debian"), to: vm).value
let export = try await host.exportVolume(vm, ExportOptions(addresses: [.unix(path: "/run/vm1.sock")]))
print(try await host.hypervisorDisk(vm).qemuArguments.joined(separator: " "))
// A guest runs; its volume is snapshotted without a pause that it would notice.
_ = try await host.createSnapshot("before-upgrade", of: vm)
try await export.stop()
// snippet.end
