import BlockStorage
import Foundation
import IORuntime
import Testing

@testable import Sluice

@Suite struct CacheMemoryTests {
    private let mebibyte: UInt64 = 1 << 20

    @Test("Caches of attached volumes are counted over the host, and beyond the limit a volume has none")
    func limit() async throws {
        let site = try TestSite(cacheBytes: 32 * mebibyte)
        let (first, second) = (try await site.host(), try await site.host())
        for name in ["a", "b", "c"] { try await first.createVolume(fast(name), .init(raw: mebibyte)) }
        let options = AttachOptions(cacheLimit: 64 * mebibyte)
        let a = try await first.attach(fast("a"), options)
        let b = try await second.attach(fast("b"), options)
        let c = try await first.attach(fast("c"), options)
        #expect(a.cache == CacheMemory(32 * mebibyte) && b.cache == a.cache)
        #expect(c.cache == CacheMemory(0, isRefused: true))
        #expect(try await second.runningAttachments().map(\.cache) == [a.cache, b.cache, c.cache])
        #expect(try await second.volumeDetails(fast("c")).attachment?.cache == c.cache)
        try await c.detach()
        // Who leaves makes room; readers have no cache.
        try await a.detach()
        let again = try await second.attach(fast("c"), options)
        #expect(again.cache == CacheMemory(32 * mebibyte))
        let reader = try await first.attach(fast("a"), AttachOptions(mode: .readOnly, cacheLimit: 0))
        #expect(reader.cache == nil)
        for attachment in [again, b, reader] { try await attachment.detach() }
        #expect(try FileManager.default.contentsOfDirectory(atPath: site.home + "/run").isEmpty)
    }

    @Test("However many attach at once, their caches keep to the limit")
    func race() async throws {
        let site = try TestSite(cacheBytes: 10 * mebibyte)
        let wait = Duration.seconds(600)
        let hosts = [try await site.host(operationWait: wait), try await site.host(operationWait: wait)]
        for number in 0..<16 { try await hosts[0].createVolume(fast("v\(number)"), .init(raw: mebibyte)) }
        let limit = 55 * mebibyte
        let attachments = try await withThrowingTaskGroup(of: Attachment.self) { group in
            for number in 0..<16 {
                group.addTask {
                    try await hosts[number % 2].attach(fast("v\(number)"), AttachOptions(cacheLimit: limit))
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(attachments.count { $0.cache?.isRefused == false } == 5)
        for attachment in attachments { try await attachment.detach() }
    }

    @Test("A pool without a cache, or storage that has none, takes nothing")
    func none() async throws {
        for (bytes, expected) in [(nil, nil), (0, CacheMemory(0))] as [(UInt64?, CacheMemory?)] {
            let site = try TestSite(cacheBytes: bytes)
            let host = try await site.host()
            try await host.createVolume(fast("v"), .init(raw: mebibyte))
            let attachment = try await host.attach(fast("v"), AttachOptions(cacheLimit: 0))
            #expect(attachment.cache == expected)
            try await attachment.detach()
        }
    }
}
