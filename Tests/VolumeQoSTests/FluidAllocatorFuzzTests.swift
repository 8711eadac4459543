import BlockStorage
import Testing

@testable import VolumeQoS

@Suite("The fluid allocator")
struct FluidAllocatorFuzzTests {
    /// A cluster, what is asked of it in one tick, and what it grants.
    struct Case {
        var allocator: FluidAllocator
        var after: FluidAllocator
        var capacity: Double
        var duration: Double
        var backlog: [Double]
        var grants: [Double]

        init(_ allocator: FluidAllocator, capacity: Double, duration: Double, backlog: [Double]) {
            (self.allocator, self.capacity, self.duration, self.backlog) = (allocator, capacity, duration, backlog)
            after = allocator
            grants = after.tick(duration: duration, capacity: capacity, backlog: backlog)
        }

        init(_ random: inout SeededGenerator) {
            let volumes = (0..<Int.random(in: 1...8, using: &random)).map { _ in
                let minimum = Double(Int.random(in: 50...15_000, using: &random))
                let maximum = minimum * Double.random(in: 1...4, using: &random)
                let burst = maximum * (Bool.random(using: &random) ? 1 : Double.random(in: 1...3, using: &random))
                let credit = Bool.random(using: &random) ? 0 : Double.random(in: 0...60, using: &random)
                return FluidAllocator.Volume(
                    minimum: minimum, maximum: maximum, burst: burst, credit: credit * (burst - maximum))
            }
            let allocator = FluidAllocator(volumes: volumes, mode: Bool.random(using: &random) ? .element : .conserving)
            let minimums = volumes.reduce(0) { $0 + $1.minimum }
            let duration: Double = [0.01, 0.5, 1.0].randomElement(using: &random) ?? 1
            let backlog = volumes.map { volume -> Double in
                Double.random(in: 0...1, using: &random) < 0.2
                    ? 0 : volume.burst * duration * Double.random(in: 0...2, using: &random)
            }
            self.init(
                allocator, capacity: minimums * Double.random(in: 0.3...3, using: &random), duration: duration,
                backlog: backlog)
        }

        func floor(_ index: Int) -> Double { min(backlog[index], allocator.volumes[index].minimum * duration) }
        func sustained(_ index: Int) -> Double { min(backlog[index], allocator.volumes[index].maximum * duration) }
        func ceiling(_ index: Int) -> Double {
            let volume = allocator.volumes[index]
            let extra = min(volume.credit, (volume.burst - volume.maximum) * duration)
            return min(backlog[index], volume.maximum * duration + extra)
        }
        var room: Double { capacity * duration }
        /// What rounding may cost.
        var tolerance: Double { 1e-9 * max(room, backlog.reduce(1, +)) }
    }

    static let caseCount = 16_000

    private func forEachCase(_ seed: UInt64, _ body: (Case, inout SeededGenerator) -> Bool) {
        RandomCases.run(seed, count: Self.caseCount) { random in
            let tested = Case(&random)
            return body(tested, &random) ? nil : "\(tested)"
        }
    }

    @Test("Grants no more than there is and than was asked for, and keeps credit in its bounds")
    func bounds() {
        forEachCase(1) { tested, _ in
            tested.grants.reduce(0, +) <= tested.room + tested.tolerance
                && tested.grants.indices.allSatisfy { index in
                    let volume = tested.after.volumes[index]
                    return tested.grants[index] >= 0 && tested.grants[index] <= tested.ceiling(index) + tested.tolerance
                        && volume.credit >= 0 && volume.credit <= volume.largestCredit(seconds: 60)
                }
        }
    }

    @Test("Keeps every minimum that fits, and shrinks all in one proportion where they do not fit")
    func minimums() {
        forEachCase(2) { tested, _ in
            let indices = tested.grants.indices
            let floors = indices.map(tested.floor)
            if floors.reduce(0, +) <= tested.room {
                return indices.allSatisfy { tested.grants[$0] >= floors[$0] - tested.tolerance }
            }
            let short = indices.filter { tested.grants[$0] < floors[$0] - tested.tolerance }
            let ratios = short.map { tested.grants[$0] / tested.allocator.volumes[$0].minimum }
            let spread = (ratios.max() ?? 0) - (ratios.min() ?? 0)
            return spread <= tested.tolerance
                && indices.allSatisfy { tested.grants[$0] <= floors[$0] + tested.tolerance }
        }
    }

    @Test("Leaves nothing unused that anybody may have, and lets nobody burst while another is below its maximum")
    func workConservation() {
        forEachCase(3) { tested, _ in
            let indices = tested.grants.indices
            let wanted = indices.reduce(0) { $0 + tested.ceiling($1) }
            let used = tested.grants.reduce(0, +)
            let isBursting = indices.contains {
                tested.grants[$0] > tested.allocator.volumes[$0].maximum * tested.duration + tested.tolerance
            }
            return abs(used - min(tested.room, wanted)) <= tested.tolerance
                && (!isBursting || indices.allSatisfy { tested.grants[$0] >= tested.sustained($0) - tested.tolerance })
        }
    }

    @Test("More capacity lowers no grant; asking for more lowers one's own never and raises no other's")
    func monotony() {
        forEachCase(4) { tested, random in
            let more = Case(
                tested.allocator, capacity: tested.capacity * Double.random(in: 1...2, using: &random),
                duration: tested.duration, backlog: tested.backlog)
            let chosen = Int.random(in: tested.grants.indices, using: &random)
            var backlog = tested.backlog
            backlog[chosen] += Double.random(in: 0...1000, using: &random)
            let greedier = Case(
                tested.allocator, capacity: tested.capacity, duration: tested.duration, backlog: backlog)
            return tested.grants.indices.allSatisfy { index in
                let isFair =
                    index == chosen
                    ? greedier.grants[index] >= tested.grants[index] - tested.tolerance
                    : greedier.grants[index] <= tested.grants[index] + tested.tolerance
                return isFair && more.grants[index] >= tested.grants[index] - tested.tolerance
            }
        }
    }

    @Test("Depends neither on the order of the volumes nor on the unit")
    func symmetry() {
        forEachCase(5) { tested, random in
            let order = tested.grants.indices.shuffled(using: &random)
            let factor = Double.random(in: 0.5...2, using: &random)
            var other = tested.allocator
            other.volumes = order.map { index in
                let volume = tested.allocator.volumes[index]
                return .init(
                    minimum: volume.minimum * factor, maximum: volume.maximum * factor, burst: volume.burst * factor,
                    credit: volume.credit * factor)
            }
            let scaled = Case(
                other, capacity: tested.capacity * factor, duration: tested.duration,
                backlog: order.map { tested.backlog[$0] * factor })
            return zip(order, scaled.grants).allSatisfy {
                abs(tested.grants[$0] * factor - $1) <= tested.tolerance * 4
            }
        }
    }
}
