import BlockStorage
import Foundation
import IORuntime
import Testing

@testable import Sluice

/// The articles say what the code does.
@Suite struct DocumentationTests {
    private func article(_ name: String) throws -> String {
        let package = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
        return try String(contentsOf: package.appending(path: "Sources/Sluice/Sluice.docc/\(name).md"), encoding: .utf8)
    }

    @Test("Each code of an error has its line, which says truly whether to try again")
    func errors() throws {
        let rows = try article("Errors").split(separator: "\n").filter { $0.hasPrefix("| `") }
        let cells = rows.map { $0.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) } }
        #expect(cells.map { $0[0] } == StorageError.Code.allCases.map { "`\($0.rawValue)`" })
        for (code, cells) in zip(StorageError.Code.allCases, cells) {
            #expect(cells.count == 4)
            #expect(cells[2] == (StorageError(code, "test").isRetryable ? "yes" : "no"), "\(code)")
        }
    }

    @Test("Each metric of an export is described to operators")
    func metrics() async throws {
        let site = try TestSite()
        let metrics = PrometheusMetrics()
        let host = try await site.host(metrics: metrics)
        try await host.createVolume(fast("v"), .init(raw: 1 << 20))
        let export = try await site.serve(host, "v")
        await expect(.outOfRange) {
            try await export.attachment.volume.discard(1 << 20..<2 << 20)
        }
        host.publishMetrics()
        let operators = try article("Operators")
        let families = metrics.text().split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }
        #expect(families.count >= 5)
        for family in families { #expect(operators.contains("`\(family.split(separator: " ")[2])`"), "\(family)") }
        for family in families { #expect(metrics.text().contains("# HELP \(family.split(separator: " ")[2]) ")) }
        try await export.stop()
        #expect(metrics.text() == "")
    }
}
