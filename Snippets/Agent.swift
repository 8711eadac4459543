// What a cloud's agent does on a KVM host: two pools, a template, a clone of it, the clone in use, a snapshot, and a
// move to other storage that fails at first.
//
// Run it as `Agent DIRECTORY IMAGE`; both pools and the home are made in DIRECTORY. It runs as a test.

import BlockStorage
import Foundation
import Sluice

let arguments = CommandLine.arguments
guard arguments.count == 3 else {
    print("usage: Agent DIRECTORY IMAGE.qcow2")
    exit(64)
}
let directory = arguments[1]

// snippet.open
// A host finishes or undoes at its start what a process that died had begun.
let host = try await StorageHost.open(home: "\(directory)/home")

// Adding a pool again with the same values succeeds, so an agent may do so at each of its starts.
for name in ["fast", "slow"] {
    let path = "\(directory)/\(name)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try await host.addPool(PoolRegistration(name: name, url: "dir://\(path)", tags: [name]))
}
print("pools:", try await host.listPools().map { "\($0.name) (\($0.kind))" }.joined(separator: ", "))
// snippet.end

// snippet.import
// Long operations report their progress, end when they are cancelled, and leave nothing then.
let template = try VolumeAddress("fast/debian")
let image = try TemplateLocation.source(arguments[2])
let operation = host.importTemplate(template, from: image, .qcow2)
for await progress in operation.progress { print("\(progress.phase.rawValue): \(progress.bytesDone) bytes") }
_ = try await operation.value
print("imported:", template)
// snippet.end

// A linked clone shares the template's blocks until it writes.
let web = try VolumeAddress("fast/web")
_ = try await host.cloneVolume(template, to: web, CloneRequest(qos: QoSPolicy(maxIOPS: 5000))).value

// snippet.attach
// In use: one writer, whom every other process of the host knows.
let attachment = try await host.attach(web)
print("attached:", attachment.stack)
let greeting = Array("Hello, disk!".utf8)
try await attachment.volume.write(greeting.span.bytes, at: 1 << 20)
try await attachment.volume.flush()
// snippet.end

// A snapshot of a volume in use is one of everything that was written before.
_ = try await host.createSnapshot("before-upgrade", of: web)
try await attachment.volume.writeZeroes(1 << 20..<2 << 20)
print("read:", try await text(at: 1 << 20, of: attachment.volume).debugDescription)

// snippet.errors
// Errors have a code to decide by, and say what failed, where and why.
for attempt in 1...3 {
    do throws(StorageError) {
        _ = try await host.migrateVolume(web, to: "slow").value
        break
    } catch {
        print("attempt \(attempt):", error.code, error.isRetryable ? "(may be retried)" : "(will not help to retry)")
        switch error.code {
        case .busy: try await attachment.detach()  // It is we who hold it.
        case .notSupported:  // Snapshots do not move: go back to this one, and give it up.
            try await host.revert(web, to: "before-upgrade")
            try await host.deleteSnapshot("before-upgrade", of: web)
        default: throw error
        }
    }
}
// snippet.end

// The volume has its name and its policy in the other pool, and all of its bytes.
let moved = VolumeAddress(pool: "slow", name: "web")
let details = try await host.volumeDetails(moved)
print("moved:", moved, "template:", details.template ?? "none", "maximum:", details.qos?.maxIOPS ?? 0)
let reader = try await host.attach(moved, AttachOptions(mode: .readOnly))
print("read:", try await text(at: 1 << 20, of: reader.volume).debugDescription)
try await reader.detach()

/// The text at `offset`, up to the first zero.
func text(at offset: UInt64, of volume: any Volume) async throws -> String {
    var bytes = [UInt8](repeating: 0, count: 64)
    var span = bytes.mutableSpan
    var buffer = span.mutableBytes
    try await volume.read(into: &buffer, at: offset)
    return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
}
