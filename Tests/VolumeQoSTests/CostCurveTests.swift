import BlockStorage
import Testing

@testable import VolumeQoS

@Suite("Cost curves")
struct CostCurveTests {
    @Test("The Element curve is the field's, and linear between its points")
    func element() {
        let curve = CostCurve.element
        #expect([512, 4096, 8192, 262_144, 1 << 20].map { curve.cost(of: $0) } == [100, 100, 160, 3900, 15000])
        #expect(curve.cost(of: 6144) == 130)
        #expect(curve.cost(of: 2 << 20) == 30000)
    }

    @Test("A larger request never costs less, and splitting one never costs less either")
    func splitting() {
        var random = SeededGenerator(seed: 7)
        let curves = [CostCurve.element, .flat, CostCurve.units(of: 16384), CostCurve.proportional(above: 4096)]
            .compactMap { $0 }
        #expect(curves.count == 4)
        for _ in 0..<20_000 {
            let whole = UInt64.random(in: 1...(8 << 20), using: &random)
            let part = UInt64.random(in: 0..<whole, using: &random)
            for curve in curves {
                #expect(curve.cost(of: whole) >= curve.cost(of: part))
                let parts = curve.cost(of: max(1, part)) + curve.cost(of: whole - part)
                #expect(parts >= curve.cost(of: whole), "\(curve.points.count) points: \(part) of \(whole)")
            }
        }
    }

    @Test("Other curves count as those who use them do")
    func others() {
        #expect(CostCurve.flat.cost(of: 1 << 20) == 100)
        #expect(CostCurve.units(of: 16384)?.cost(of: 16385) == 200)
        #expect(CostCurve.proportional(above: 4096)?.cost(of: 256 << 10) == 6400)
        #expect(CostCurve(points: []) == nil)
        #expect(CostCurve(points: [.init(byteCount: 8192, cost: 100), .init(byteCount: 4096, cost: 200)]) == nil)
    }
}
