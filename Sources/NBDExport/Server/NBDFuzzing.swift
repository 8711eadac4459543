import BlockStorage
import IORuntime
import Logging

/// Serves a client that sends exactly `bytes` and then ends, against a small volume in memory: the entry point for
/// fuzzers. Returns when the connection has ended, whatever the bytes are.
package func fuzzNBD(_ bytes: [UInt8]) async {
    guard let export = try? NBDServer.Export(name: "fuzz", description: "target", volume: MemoryVolume(size: 1 << 20)),
        let (client, served) = try? Socket.pair()
    else { return }
    var configuration = NBDServer.Configuration()
    configuration.largestRequestCount = 4
    let logger = Logger(label: "sluice.fuzz") { _ in SwiftLogNoOpLogHandler() }
    let server = NBDServer(exports: [export], configuration: configuration, logger: logger)
    await IOExecutorGroup.shared.run {
        async let serving: Void = server.serve(served)
        async let sending: Void = {
            try? await client.send(bytes.rawBytes)
            client.shutDownSending()
        }()
        var buffer = IOBuffer(byteCount: 64 << 10)
        while true {
            var memory = buffer.mutableBytes
            guard let count = try? await client.receive(into: &memory), count > 0 else { break }
        }
        _ = await (serving, sending)
    }
}
