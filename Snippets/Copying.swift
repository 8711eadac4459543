// Bytes between two attached volumes.

import BlockStorage
import Sluice

let host = try await StorageHost.open()
let source = try await host.attach(VolumeAddress("fast/web@monday"), AttachOptions(mode: .readOnly))
let target = try await host.attach(VolumeAddress("slow/restored"))
// snippet.copy
for extent in try await source.volume.extents(in: 0..<source.volume.geometry.size) where extent.kind == .data {
    var offset = extent.range.lowerBound
    while offset < extent.range.upperBound {
        var buffer = [UInt8](repeating: 0, count: Int(min(1 << 20, extent.range.upperBound - offset)))
        var span = buffer.mutableSpan
        var bytes = span.mutableBytes
        try await source.volume.read(into: &bytes, at: offset)
        try await target.volume.write(bytes.bytes, at: offset)
        offset += UInt64(buffer.count)
    }
}
// Everything above is durable only now.
try await target.volume.flush()
// snippet.end
try await source.detach()
try await target.detach()
