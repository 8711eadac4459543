import Testing

@testable import BlockStorage

@Suite struct CopyPlanTests {
    private func plan(_ size: UInt64, requestSize: Int = 1 << 20, blockSize: UInt32 = 1) -> CopyPlan {
        CopyPlan(
            source: VolumeGeometry(size: size),
            destination: VolumeGeometry(size: size, blockSize: blockSize, preferredTransfer: 4096),
            requestSize: requestSize)
    }

    @Test(
        "pieces cover a window in order, without gaps, and every byte of data is in a piece of data", arguments: 0..<40)
    func coversWindow(seed: UInt64) {
        var randomness = SeededGenerator(seed: seed)
        let size = UInt64.random(in: 1...10_000_000, using: &randomness)
        var extents: [Extent] = []
        var start: UInt64 = 0
        while start < size {
            let end = min(size, start + UInt64.random(in: 1...100_000, using: &randomness))
            extents.append(Extent(start..<end, [.data, .zero, .hole].randomElement(using: &randomness) ?? .data))
            start = end
        }
        var plan = plan(size, requestSize: 65536)
        let pieces = plan.pieces(of: extents)
        #expect(plan.nextWindow() == nil)
        #expect(pieces.first?.range.lowerBound == 0)
        #expect(pieces.last?.range.upperBound == size)
        #expect(zip(pieces, pieces.dropFirst()).allSatisfy { $0.range.upperBound == $1.range.lowerBound })
        for piece in pieces {
            #expect(piece.range.lowerBound % plan.granularity == 0)
            #expect(piece.range.count <= 65536 || !piece.isData)
            guard !piece.isData else { continue }
            #expect(!extents.contains { $0.kind == .data && $0.range.overlaps(piece.range) })
        }
    }

    @Test("neighbouring holes and zeros count as one run, and data in short pieces is read together")
    func joinsRuns() {
        var plan = plan(1 << 20)
        let pieces = plan.pieces(of: [
            Extent(0..<1000, .hole), Extent(1000..<8192, .zero), Extent(8192..<9000, .data),
            Extent(9000..<12000, .hole), Extent(12000..<20000, .data), Extent(20000..<1 << 20, .hole),
        ])
        #expect(
            pieces == [
                CopyPiece(range: 0..<8192, isData: false), CopyPiece(range: 8192..<20480, isData: true),
                CopyPiece(range: 20480..<1 << 20, isData: false),
            ])
    }

    @Test("what a volume leaves out of its extents, or says twice, is still copied")
    func distrustsExtents() {
        var plan = plan(65536)
        let pieces = plan.pieces(of: [
            Extent(8192..<12288, .hole), Extent(8192..<12288, .hole), Extent(4096..<8192, .hole),
            Extent(61440..<1 << 40, .zero),
        ])
        #expect(pieces.first?.range.lowerBound == 0)
        #expect(pieces.last?.range.upperBound == 65536)
        #expect(zip(pieces, pieces.dropFirst()).allSatisfy { $0.range.upperBound == $1.range.lowerBound })
    }

    @Test("windows grow over empty space and shrink again where extents are many")
    func adaptsWindow() throws {
        var plan = plan(1 << 50)
        let first = try #require(plan.nextWindow())
        _ = plan.pieces(of: [Extent(first, .hole)])
        let second = try #require(plan.nextWindow())
        #expect(second.lowerBound == first.upperBound)
        #expect(second.count == 2 * first.count)
        let step: UInt64 = 1 << 20
        _ = plan.pieces(
            of: stride(from: second.lowerBound, to: second.upperBound, by: Int(step)).map {
                Extent($0..<$0 + step, ($0 / step) % 2 == 0 ? .hole : .data)
            })
        #expect(plan.nextWindow()?.count == first.count)
    }

    @Test("the granularity is a multiple of every block size, and requests are within the limits")
    func respectsLimits() {
        let plan = CopyPlan(
            source: VolumeGeometry(size: 1 << 30, blockSize: 512, largestTransfer: 300_000),
            destination: VolumeGeometry(size: 1 << 30, blockSize: 16384, largestTransfer: 1 << 20), requestSize: 1 << 25
        )
        #expect(plan.granularity == 65536)
        #expect(plan.requestSize == 262_144)
    }

    @Test("the rate is that of the last seconds, and reports keep their distance")
    func measuresRate() throws {
        let start = ContinuousClock.now
        var meter = ProgressMeter(.copying, total: 1000, start: start)
        let early = meter.reach(100, at: start + .milliseconds(10))
        #expect(early == nil)
        let report = meter.reach(200, at: start + .milliseconds(200))
        let first = try #require(report)
        #expect(first.bytesDone == 200)
        #expect(abs(first.bytesPerSecond - 1000) < 1)
        let soon = meter.reach(200, at: start + .milliseconds(250))
        #expect(soon == nil)
        let last = meter.reach(1000, at: start + .milliseconds(251))
        #expect(last?.bytesDone == 1000)
    }
}
