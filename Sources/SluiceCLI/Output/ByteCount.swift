import ArgumentParser
import Sluice

extension ByteCount: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }

    public var defaultValueDescription: String { text }
}
